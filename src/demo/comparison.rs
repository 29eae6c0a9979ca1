//! One record before and after: from the company API, and through the gateway for two recipients.

use std::fmt::Write as _;

use serde_json::Value;

use super::people::cast;
use super::runner::SceneRunner;
use super::scenes::{Credential, customer};
use super::text::cut;

/// Members of the record, in its order, as JSON pointers.
const MEMBERS: [&str; 21] = [
    "/id",
    "/status",
    "/created_at",
    "/name",
    "/email",
    "/phone",
    "/date_of_birth",
    "/address",
    "/company",
    "/job_title",
    "/language",
    "/time_zone",
    "/login/username",
    "/login/password_hash",
    "/login/security_question",
    "/login/last_ip",
    "/card",
    "/usage",
    "/support_notes",
    "/accessibility_needs",
    "/internal_score",
];

/// Characters of a column: four columns and their gaps fit a terminal of 80 characters.
const MEMBER: usize = 19;
const VALUE: usize = 18;

/// The person whose record is compared: the reseller may follow up their download.
const SUBJECT: u32 = cast::DOWNLOADER;

/// The two requests: recipient, its credential, and the purpose.
const REQUESTS: [(&str, Credential, &str); 2] = [
    ("service-desk", Credential::ServiceDesk, "customer-support"),
    ("north-resale", Credential::Reseller, "reseller-follow-up"),
];

/// Requests the record from the company API and through the gateway, and renders the three.
///
/// # Errors
/// In words, if there is no response or it is not JSON.
pub(super) async fn compare(runner: &SceneRunner) -> Result<String, String> {
    let [(desk, desk_credential, support), (reseller, reseller_credential, follow_up)] = REQUESTS;
    let api = runner.request_from_api(&customer(SUBJECT, desk_credential, support).target).await?.json()?;
    let request = customer(SUBJECT, desk_credential, support);
    let for_desk = runner.send_request(&request, None).await?.json()?;
    let request = customer(SUBJECT, reseller_credential, follow_up);
    let for_reseller = runner.send_request(&request, None).await?.json()?;
    Ok(table([
        ("company API", "before", &api),
        (desk, support, &for_desk),
        (reseller, follow_up, &for_reseller),
    ]))
}

/// Renders the members of three records side by side; a member that is not there is a hyphen.
fn table(columns: [(&str, &str, &Value); 3]) -> String {
    let mut text = String::new();
    let mut line = |member: &str, cells: [String; 3]| {
        let [first, second, third] = cells.map(|cell| cut(&cell, VALUE));
        let _ = writeln!(text, "{member:MEMBER$}  {first:VALUE$}  {second:VALUE$}  {third}");
    };
    line("", columns.map(|(recipient, ..)| recipient.to_owned()));
    line("", columns.map(|(_, purpose, _)| purpose.to_owned()));
    line(&"-".repeat(MEMBER), [(); 3].map(|()| "-".repeat(VALUE)));
    for pointer in MEMBERS {
        let name = pointer.rsplit('/').next().unwrap_or_default();
        line(name, columns.map(|(.., record)| record.pointer(pointer).map_or_else(|| "-".to_owned(), cell)));
    }
    text
}

/// Renders a value without quotation marks; the members of an object one after the other.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => members.values().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::environment::Environment;
    use crate::demo::upstream;

    #[test]
    fn every_member_of_the_record_is_compared() {
        let record: Value = serde_json::from_str(&upstream::customer(SUBJECT)).unwrap();
        let mut members = Vec::new();
        for (name, value) in record.as_object().unwrap() {
            match value.as_object().filter(|_| name == "login") {
                Some(login) => members.extend(login.keys().map(|inner| format!("/{name}/{inner}"))),
                None => members.push(format!("/{name}")),
            }
        }
        let mut compared = MEMBERS.to_vec();
        compared.sort_unstable();
        members.sort_unstable();
        assert_eq!(compared, members);
    }

    #[tokio::test]
    async fn the_readme_shows_the_record_that_the_demonstration_prints() {
        let environment = Environment::start(false, &mut |_| ()).await.unwrap();
        let printed = compare(&environment.runner).await;
        environment.stop().await;
        let printed = printed.unwrap();
        assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(&format!("```text\n{printed}```\n")),
            "README.md lacks this record:\n{printed}"
        );
    }
}
