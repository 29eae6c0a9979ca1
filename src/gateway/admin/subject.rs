//! Questions about one data subject: disclosures, the report, open requests, the link to opt out.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::problem::AdminProblem;
use super::{AdminApi, AdminResponse, ok, response};
use crate::decision::RecipientFacts;
use crate::disclosure::LogSource;
use crate::exchange::SharedState;
use crate::exchange::pages::opt_out;
use crate::policy::Pack;
use crate::report::{self, Disclosure, ReportError, ReportSources, SubjectReport};
use crate::vocabulary::SubjectId;

impl AdminApi {
    /// Lists the disclosures about a person: recipients and categories, without disclosures that are still
    /// confidential.
    pub(super) async fn disclosures(&self, person: SubjectId) -> Result<AdminResponse, AdminProblem> {
        let disclosures: Vec<Disclosure> =
            self.read_log(person, |sources, person, now| report::disclosures(person, sources, now)).await?;
        Ok(ok(&serde_json::to_value(disclosures).map_err(|_| report_unavailable())?))
    }

    /// Returns the report that a person receives about themselves (GDPR Art. 15).
    pub(super) async fn report(&self, person: SubjectId, html: bool) -> Result<AdminResponse, AdminProblem> {
        let report: Option<SubjectReport> =
            self.read_log(person, |sources, person, now| report::report(person, sources, now)).await?;
        let report = report.ok_or_else(AdminProblem::not_found)?;
        if html {
            return Ok(response(StatusCode::OK, "text/html; charset=utf-8", report::html(&report)));
        }
        Ok(ok(&serde_json::to_value(report).map_err(|_| report_unavailable())?))
    }

    /// Lists the requests of data subjects that nobody has answered yet.
    pub(super) fn requests(&self) -> AdminResponse {
        let now = Timestamp::now();
        let open = self.shared.ledger.requests();
        ok(&open.iter().map(|request| Value::Object(request.json(now))).collect())
    }

    /// Returns the header values for a person's marketing e-mails, with the path of the link only: the gateway does not
    /// know its public address.
    pub(super) fn opt_out_link(&self, person: &SubjectId) -> Result<AdminResponse, AdminProblem> {
        let token = self.shared.opt_out.links.token(person).ok_or_else(AdminProblem::not_found)?;
        Ok(ok(&json!({
            "path": format!("{}{token}", opt_out::PATH),
            "list-unsubscribe-post": opt_out::ONE_CLICK,
        })))
    }

    /// Reads ledger and disclosure log on a thread of its own: the log can be long.
    async fn read_log<T: Send + 'static>(
        &self,
        person: SubjectId,
        read: impl FnOnce(&ReportSources<'_>, &SubjectId, Timestamp) -> Result<T, ReportError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        // Records of past disclosures may still wait to be written.
        self.shared.log.flush().await;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let SharedState { ledger, log, other_logs, .. } = &*shared;
            let snapshot = shared.snapshot();
            let now = Timestamp::now();
            let in_force = snapshot.packs.iter().filter_map(|versions| versions.in_force(now));
            let packs: Vec<Arc<Pack>> = in_force.map(|version| Arc::clone(version.pack())).collect();
            let recipients: Vec<Arc<RecipientFacts>> =
                snapshot.recipients.iter().map(|recipient| Arc::clone(&recipient.in_agreement)).collect();
            let logs: Vec<LogSource> = [log.source()].into_iter().chain(other_logs).cloned().collect();
            let sources = ReportSources {
                archive: ledger.archive(),
                logs: &logs,
                packs: &packs,
                recipients: &recipients,
            };
            read(&sources, &person, now)
        };
        let read = tokio::task::spawn_blocking(work).await.map_err(|_| report_unavailable())?;
        read.map_err(|error| match error {
            ReportError::Ledger(error) => error.into(),
            ReportError::Log(error) => AdminProblem::log_unreadable(&error),
        })
    }
}

fn report_unavailable() -> AdminProblem {
    AdminProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "report-unavailable", "the report cannot be written")
}
