//! Findings about routes in observe mode.

use jiff::{ToSpan, Zoned};

use crate::findings::{FIELDS, ROUTE, check_with, codes, rendered};

const OBSERVED: &str = "mode = \"observe\"\nobserve-until = 2999-01-31\n";

/// A partner that is registered for a purpose.
fn partner(purpose: &str) -> String {
    format!(
        "[[recipient]]\nname = \"reseller\"\nkind = \"reselling-partner\"\ncountry = \"DE\"\npurposes = [\"{purpose}\"]\n\
         credentials = [{{ certificate = \"spiffe://test/reseller\" }}]\nagreement = {{ type = \"controller\" }}\n"
    )
}

#[test]
fn an_observed_route_is_named_with_its_date_and_can_be_acknowledged() {
    let (loads, findings, folder) = check_with(&format!("{ROUTE}{OBSERVED}{FIELDS}"));
    let text = rendered(&findings, folder.path());
    assert!(loads, "{text}");
    assert_eq!(codes(&findings), ["observe-mode"], "{text}");
    assert!(text.contains("`customers`") && text.contains("2999-01-31"), "{text}");
    let acknowledged = format!("{ROUTE}{OBSERVED}allow = [\"observe-mode\"]\n{FIELDS}");
    let (loads, findings, _folder) = check_with(&acknowledged);
    assert!(loads && findings.iter().all(|finding| !finding.is_warning()), "{findings:?}");
}

#[test]
fn a_route_with_a_recipient_of_another_organisation_is_not_observed() {
    let with_partner =
        |keys: &str, purpose: &str| check_with(&format!("{ROUTE}{keys}{FIELDS}{}", partner(purpose)));
    let (loads, findings, folder) = with_partner(OBSERVED, "reseller-follow-up");
    let text = rendered(&findings, folder.path());
    assert!(!loads && codes(&findings) == ["observe-mode-recipients"], "{text}");
    for words in ["`reseller`", "route of their own", "`mode = \"enforce\"`", "`purposes`"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // The route does not serve the partner's purpose, or a child of it.
    let own = format!("{OBSERVED}purposes = [\"customer-support\"]\n");
    let (loads, findings, _folder) = with_partner(&own, "reseller-follow-up");
    assert!(loads && codes(&findings) == ["observe-mode"], "{findings:?}");
    let (loads, findings, _folder) = with_partner(&own, "customer-support");
    assert!(!loads && codes(&findings).contains(&"observe-mode-recipients"), "{findings:?}");
    let enforced = "mode = \"enforce\"\n";
    assert!(with_partner(enforced, "reseller-follow-up").0);
}

#[test]
fn contractors_and_kinds_below_employees_are_of_the_own_organisation() {
    for (kind, is_own) in
        [("contractor", true), ("employee", true), ("affiliate", false), ("hosting-provider", false)]
    {
        let other = partner("customer-support").replace("reselling-partner", kind);
        let (loads, findings, _folder) = check_with(&format!("{ROUTE}{OBSERVED}{FIELDS}{other}"));
        assert_eq!(loads, is_own, "{kind}: {findings:?}");
    }
}

#[test]
fn a_route_whose_date_has_passed_is_enforced_with_a_warning() {
    let yesterday = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date() - 1.day();
    let over = format!("mode = \"observe\"\nobserve-until = {yesterday}\n");
    let (loads, findings, folder) = check_with(&format!("{ROUTE}{over}{FIELDS}"));
    assert!(loads, "{}", rendered(&findings, folder.path()));
    assert_eq!(codes(&findings), ["observe-mode-ended"]);
    // The clock may be set back to a day on which it is observed.
    let (loads, findings, _folder) =
        check_with(&format!("{ROUTE}{over}{FIELDS}{}", partner("reseller-follow-up")));
    assert_eq!((loads, codes(&findings)), (false, vec!["observe-mode-recipients"]));
    let today = yesterday + 1.day();
    let still = format!("mode = \"observe\"\nobserve-until = {today}\n");
    assert_eq!(codes(&check_with(&format!("{ROUTE}{still}{FIELDS}")).1), ["observe-mode"]);
}

#[test]
fn observe_mode_needs_a_date_and_a_date_needs_observe_mode() {
    let check = |keys: &str| {
        let (loads, findings, _folder) = check_with(&format!("{ROUTE}{keys}{FIELDS}"));
        (loads, codes(&findings))
    };
    assert_eq!(check("mode = \"observe\"\n"), (false, vec!["missing-key"]));
    assert!(!check("mode = \"watch\"\n").0);
    assert!(!check("mode = \"observe\"\nobserve-until = \"soon\"\n").0);
    for (day, expected) in [
        ("9999-12-29", (true, vec!["observe-mode"])),
        ("9999-12-31", (false, vec!["observe-until-too-late"])),
    ] {
        assert_eq!(check(&format!("mode = \"observe\"\nobserve-until = {day}\n")), expected);
    }
    assert_eq!(check("observe-until = 2999-01-31\n"), (true, vec!["observe-until-without-effect"]));
    assert_eq!(check("mode = \"enforce\"\n"), (true, vec![]));
}
