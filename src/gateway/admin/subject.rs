//! Questions about one data subject: state, history, disclosures, the report, the link to opt out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_SECURITY_POLICY;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::answer_headers::SELF_CONTAINED;
use super::openapi::PositionHeader;
use super::openapi::problems::{LogProblems, PersonProblems};
use super::page_language::{language_headers, page_language};
use super::problem::{AdminCode, AdminProblem};
use super::request::{PathText, PersonPath, PersonQuery, QueryOf};
use crate::disclosure::LogSource;
use crate::exchange::SharedState;
use crate::exchange::pages::opt_out;
use crate::exchange::route::Recipient;
use crate::ledger::Entity;
use crate::policy::Pack;
use crate::report::{
    self, DisclosureList, ReportError, ReportPage, ReportSources, ReportedRecipient, SubjectReport,
};
use crate::texts::PageLanguage;
use crate::vocabulary::SubjectId;

/// The query of a report.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    /// Namespace of the id in the path.
    #[param(min_length = 1, nullable = false)]
    namespace: Option<String>,
    /// Why the resource is used. Required where tokens or certificates are configured, and recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    reason: Option<String>,
    /// The format of the report.
    #[serde(default)]
    #[param(inline)]
    format: ReportFormat,
    /// The language of the HTML page, instead of the one that `Accept-Language` asks for.
    #[param(min_length = 1, max_length = 35, nullable = false)]
    language: Option<String>,
}

/// The media type of a report.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReportFormat {
    #[default]
    Json,
    Html,
}

/// Returns the state that is in force about a person.
#[utoipa::path(
    get, path = "/v1/subjects/{id}", operation_id = "getSubject", tag = "subjects",
    params(PersonPath, PersonQuery, PositionHeader),
    responses((status = 200, description = "The state.", body = ref("#/components/schemas/SubjectState")), PersonProblems)
)]
pub(super) async fn subject(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let person = admin.person(&id, query.namespace.as_deref())?;
    admin.record_act(&act, ActObject::Person(&person), query.reason.as_deref()).await?;
    let state = admin.person_state(person).await?;
    state.map(|state| Json(Value::Object(state))).ok_or_else(AdminProblem::not_found)
}

/// Lists all events about a person.
#[utoipa::path(
    get, path = "/v1/subjects/{id}/events", operation_id = "listSubjectEvents", tag = "subjects",
    params(PersonPath, PersonQuery, PositionHeader),
    responses((status = 200, description = "The events, in the order of their positions.", body = ref("#/components/schemas/History")), PersonProblems)
)]
pub(super) async fn history(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let person = admin.person(&id, query.namespace.as_deref())?;
    admin.record_act(&act, ActObject::Person(&person), query.reason.as_deref()).await?;
    admin.history(Entity::Subject(person)).await
}

/// The query of an accounting of disclosures.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DisclosuresQuery {
    /// Namespace of the id in the path.
    #[param(min_length = 1, nullable = false)]
    namespace: Option<String>,
    /// Why the resource is used. Required where tokens or certificates are configured, and recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    reason: Option<String>,
    /// The form of the answer.
    #[serde(default)]
    #[param(inline)]
    form: DisclosureForm,
}

/// The form in which disclosures are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DisclosureForm {
    /// Every disclosure (GDPR Art. 15(1)(c)).
    #[default]
    List,
    /// Repeated disclosures to one recipient for one purpose as one line (45 CFR 164.528).
    Hipaa,
}

/// Lists the disclosures about a person, without those that are still confidential.
#[utoipa::path(
    get, path = "/v1/subjects/{id}/disclosures", operation_id = "listDisclosures", tag = "subjects",
    params(PersonPath, DisclosuresQuery, PositionHeader),
    responses((status = 200, description = "The disclosures, oldest first.", body = ref("#/components/schemas/Disclosures")), LogProblems)
)]
pub(super) async fn disclosures(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<DisclosuresQuery>,
) -> Result<Response, AdminProblem> {
    let person = admin.person(&id, query.namespace.as_deref())?;
    admin.record_act(&act, ActObject::Person(&person), query.reason.as_deref()).await?;
    let (list, now) = admin.disclosures_about(person).await?;
    Ok(match query.form {
        DisclosureForm::List => Json(list).into_response(),
        DisclosureForm::Hipaa => Json(report::accounting_of(&list, now)).into_response(),
    })
}

/// Returns the report that a person receives about themselves (GDPR Art. 15).
#[utoipa::path(
    get, path = "/v1/subjects/{id}/report", operation_id = "getReport", tag = "subjects",
    params(PersonPath, ReportQuery, PositionHeader),
    responses(
        (status = 200, description = "The report.", content(
            (ref("#/components/schemas/SubjectReport") = "application/json"),
            (String = "text/html"),
        )), LogProblems)
)]
pub(super) async fn report(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, AdminProblem> {
    let person = admin.person(&id, query.namespace.as_deref())?;
    let language = page_language(&admin.shared.snapshot().texts, query.language.as_deref(), &headers)?;
    admin.record_act(&act, ActObject::Person(&person), query.reason.as_deref()).await?;
    Ok(match query.format {
        ReportFormat::Html => {
            let headers = language_headers(&language);
            let page = admin.report_page_about(person, language).await?;
            (headers, [(CONTENT_SECURITY_POLICY, SELF_CONTAINED)], Html(page)).into_response()
        }
        ReportFormat::Json => Json(admin.report_about(person).await?).into_response(),
    })
}

/// Returns the header values for a person's marketing e-mails.
///
/// The link is its path only: the gateway does not know its public address.
#[utoipa::path(
    get, path = "/v1/subjects/{id}/opt-out-link", operation_id = "getOptOutLink", tag = "subjects",
    params(PersonPath, PersonQuery, PositionHeader),
    responses((status = 200, description = "The header values.", body = ref("#/components/schemas/OptOutLink")), PersonProblems)
)]
pub(super) async fn opt_out_link(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let person = admin.person(&id, query.namespace.as_deref())?;
    admin.record_act(&act, ActObject::Person(&person), query.reason.as_deref()).await?;
    let token = admin.shared.opt_out.links.token(&person).ok_or_else(AdminProblem::not_found)?;
    Ok(Json(json!({
        "path": format!("{}{token}", opt_out::PATH),
        "list-unsubscribe-post": opt_out::ONE_CLICK,
    })))
}

impl AdminApi {
    /// Returns the state that is in force about a person; `None` if the ledger does not know the person.
    pub(in crate::gateway) async fn person_state(
        &self,
        person: SubjectId,
    ) -> Result<Option<Map<String, Value>>, AdminProblem> {
        self.read_ledger(move |archive| archive.show(&person, None, Timestamp::now())).await
    }

    /// Returns the disclosures about a person, and the time at which they were read.
    pub(in crate::gateway) async fn disclosures_about(
        &self,
        person: SubjectId,
    ) -> Result<(DisclosureList, Timestamp), AdminProblem> {
        let read = |sources: &ReportSources<'_>, person: &SubjectId, now| {
            report::disclosures(person, sources, now).map(|list| (list, now))
        };
        self.read_log(person, read).await
    }

    /// Returns the report about a person.
    pub(in crate::gateway) async fn report_about(
        &self,
        person: SubjectId,
    ) -> Result<SubjectReport, AdminProblem> {
        let read =
            |sources: &ReportSources<'_>, person: &SubjectId, now| report::report(person, sources, now);
        self.read_log(person, read).await?.ok_or_else(AdminProblem::not_found)
    }

    /// Returns the report about a person as a page.
    pub(in crate::gateway) async fn report_page_about(
        &self,
        person: SubjectId,
        language: PageLanguage,
    ) -> Result<String, AdminProblem> {
        let read = move |sources: &ReportSources<'_>, person: &SubjectId, now| {
            let report = report::report(person, sources, now)?;
            let ReportSources { packs, recipients, .. } = *sources;
            let page = ReportPage { language: &language, packs, recipients };
            Ok::<_, ReportError>(report.map(|report| report::html(&report, &page)))
        };
        self.read_log(person, read).await?.ok_or_else(AdminProblem::not_found)
    }

    /// Reads ledger and disclosure log on a thread of its own: the log can be long.
    async fn read_log<T: Send + 'static>(
        &self,
        person: SubjectId,
        read: impl FnOnce(&ReportSources<'_>, &SubjectId, Timestamp) -> Result<T, ReportError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        // Records of past disclosures may still wait to be written.
        self.shared.flush_log().await.map_err(|error| AdminProblem::log_unreadable(&error))?;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let SharedState { ledger, log, other_logs, .. } = &*shared;
            let snapshot = shared.snapshot();
            let now = Timestamp::now();
            let in_force = snapshot.packs.iter().filter_map(|versions| versions.in_force(now));
            let packs: Vec<Arc<Pack>> = in_force.map(|version| Arc::clone(version.pack())).collect();
            let reported = |recipient: &Arc<Recipient>| ReportedRecipient {
                facts: Arc::clone(&recipient.in_agreement),
                legal_name: recipient.contact.legal_name.clone(),
                address: recipient.contact.address.clone(),
                contact: recipient.contact.contact.clone(),
            };
            let recipients: Vec<ReportedRecipient> = snapshot.recipients.iter().map(reported).collect();
            let logs: Vec<LogSource> = [log.source()].into_iter().chain(other_logs).cloned().collect();
            let sources = ReportSources {
                archive: ledger.archive(),
                logs: &logs,
                packs: &packs,
                recipients: &recipients,
                retired: &shared.retired_logs,
                namespaces: &ledger.namespaces(),
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
    AdminProblem::new(AdminCode::ReportUnavailable, "the report cannot be written")
}
