//! Warnings of `check`: configurations that load, but cannot work as written or may surprise.

use std::path::Path;

use purposegate::config;
use purposegate::finding::Finding;

use crate::expired_data::with_retention;
use crate::findings::{FIELDS, PACK, ROUTE, RULES, SOUND, check_with, codes, folder, rendered};
use crate::gateway::pack;

#[test]
fn a_route_that_releases_unclassified_fields_is_a_warning() {
    let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}unclassified = \"release\"\n"));
    assert!(loads);
    let words = rendered(&findings, folder.path());
    assert_eq!(findings.len(), 1, "{words}");
    assert!(words.contains("route `customers` releases fields that nothing classifies"), "{words}");
    assert!(check_with(&format!("{ROUTE}{FIELDS}unclassified = \"remove\"\n")).1.is_empty());
}

#[test]
fn errors_of_a_route_without_fields_have_codes_only() {
    let errors = "errors = { \"$.errors[*].field\" = \"non-personal\" }\n";
    let (loads, findings, _) = check_with(&format!("{ROUTE}{errors}"));
    assert_eq!((loads, codes(&findings)), (true, vec!["route-without-fields", "errors-without-fields"]));
    assert!(check_with(&format!("{ROUTE}{FIELDS}{errors}")).1.is_empty());
    let photo = "[[route]]\nname = \"p\"\nupstream = \"crm\"\npath = \"/p/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n";
    let (loads, findings, _) =
        check_with(&format!("{photo}{errors}max-deny-body = \"1MiB\"\nwithheld = \"deny\"\n"));
    assert!(loads && findings.is_empty(), "{findings:?}");
}

#[test]
fn plaintext_listeners_and_routes_that_are_not_personal_are_warnings() {
    let added = format!(
        "{ROUTE}{FIELDS}[[listener]]\naddress = \"0.0.0.0:0\"\n[[route]]\nname = \"open\"\nupstream = \"crm\"\npath = \"/open\"\npersonal = false\n"
    );
    let listeners = SOUND.replace("[listener]", "[[listener]]");
    let policy = pack("one-partner-360").display().to_string();
    let folder = folder(&[("purposegate.toml", &format!("policy = {policy:?}\n{listeners}{added}"))]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    assert!(config.is_some());
    let words: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "this listener speaks plaintext beyond the loopback",
            "route `open` is not personal: its answers pass through unread",
        ]
    );
    assert!(findings.iter().all(|finding| !finding.is_error()));
    let text = rendered(&findings, folder.path());
    assert!(text.contains("0.0.0.0:0") && text.contains("personal = false"), "{text}");
}

#[test]
fn approvals_under_any_name_are_a_warning() {
    let authority = "[[recipient]]\nname = \"court\"\nkind = \"public-authority\"\ncountry = \"DE\"\npurposes = [\"law-enforcement\"]\ncredentials = [{ certificate = \"x\" }]\n";
    let (loads, findings, _) = check_with(&format!("{ROUTE}{FIELDS}{authority}"));
    assert_eq!((loads, codes(&findings)), (true, vec!["approvers-unverified"]));
    let hash = format!("sha256:{}", "1".repeat(64));
    let approver =
        format!("[admin]\ntokens = [{{ name = \"ada\", hash = \"{hash}\", roles = [\"cases\"] }}]\n");
    let (_, findings, _) = check_with(&format!("{ROUTE}{FIELDS}{authority}{approver}"));
    assert_eq!(codes(&findings), ["plaintext-admin-tokens"]);
}

#[test]
fn tokens_in_plaintext_are_a_warning() {
    let hash = format!("sha256:{}", "1".repeat(64));
    let token = format!("tokens = [{{ name = \"ada\", hash = \"{hash}\", roles = [\"read\"] }}]\n");
    for (admin, expected) in [
        (format!("[admin]\n{token}"), &["plaintext-admin-tokens"][..]),
        (format!("[admin]\naddress = \"[::1]:9901\"\n{token}"), &["plaintext-admin-tokens"]),
        (format!("[admin]\n{token}allow = [\"plaintext-admin-tokens\"]\n"), &[]),
        (format!("[admin]\naddress = \"0.0.0.0:9901\"\n{token}"), &["admin-not-loopback"]),
        ("[admin]\naddress = \"127.0.0.1:9901\"\n".to_owned(), &[]),
    ] {
        let (_, mut findings, _) = check_with(&format!("{ROUTE}{FIELDS}{admin}"));
        // Without those that are acknowledged.
        findings.retain(|finding| finding.is_error() || finding.is_warning());
        assert_eq!(codes(&findings), expected, "{admin}");
    }
    let certificates = crate::admin_access::certificates();
    let folder = certificates.path().display();
    let tls = format!("tls = {{ certificate = \"{folder}/server.pem\", key = \"{folder}/server.key\" }}\n");
    let (_, findings, _) = check_with(&format!("{ROUTE}{FIELDS}[admin]\n{tls}{token}"));
    assert_eq!(codes(&findings), Vec::<&str>::new());
}

#[test]
fn a_time_for_a_stale_ledger_without_effect_is_a_warning() {
    for (keys, why) in [
        ("stale-for = \"1m\"\n", "`stale-for` has no effect on this route"),
        ("stale = \"stop\"\nstale-for = \"1m\"\n", "`stale-for` has no effect on this route"),
        ("stale = \"contract\"\nstale-for = \"2s\"\n", "`stale-for` is not longer than `max-staleness`"),
    ] {
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}{keys}"));
        assert!(loads);
        assert_eq!(codes(&findings), ["stale-without-effect"], "{}", rendered(&findings, folder.path()));
        assert!(findings[0].to_string().contains(why), "{}", findings[0]);
    }
    for keys in
        ["stale = \"contract\"\n", "stale = \"contract\"\nstale-for = \"24h\"\n", "stale = \"stop\"\n"]
    {
        assert!(check_with(&format!("{ROUTE}{FIELDS}{keys}")).1.is_empty(), "{keys}");
    }
}

#[test]
fn a_configuration_without_routes_is_a_warning() {
    let (loads, findings, folder) = check_with("");
    assert!(loads && findings.len() == 1, "{}", rendered(&findings, folder.path()));
    assert!(findings[0].to_string().contains("there is no `[[route]]`"));
}

#[test]
fn a_field_mapped_to_personal_alone_is_a_warning() {
    let (loads, findings, folder) = check_with(&format!("{ROUTE}fields = {{ \"@.x\" = \"personal\" }}\n"));
    let text = rendered(&findings, folder.path());
    assert!(loads && findings.len() == 1, "{text}");
    assert!(text.contains("`personal` does not say what the field holds"), "{text}");
}

#[test]
fn inputs_that_let_the_caller_choose_fields_are_warnings() {
    for (more, why) in [
        ("query = { select = \"non-personal\" }", "the parameter `select` may let its caller choose"),
        (
            "query = { \"$orderby\" = [\"name\", \"email\"] }",
            "the parameter `$orderby` may let its caller choose",
        ),
        ("query = { \"fields[people]\" = \"name\" }", "the parameter `fields[people]` may let"),
        ("methods = [\"POST\"]\noperation = \"disclose\"", "the body of a request may choose"),
        (
            "methods = [\"DELETE\"]\nrequest-body = true\noperation = \"disclose\"",
            "the body of a request may choose",
        ),
        ("request-headers = [\"Cookie\"]", "cookies go on to the upstream"),
        (
            "cors = { origins = [\"https://a.example\"] }\nanswer-headers = [\"Access-Control-Allow-Origin\"]",
            "of the upstream does not pass",
        ),
        ("query = { page = \"non-personal\" }", ""),
        ("query = { sort = { values = { name = \"name\" } } }", ""),
        ("methods = [\"POST\"]", ""),
        ("methods = [\"DELETE\"]\noperation = \"disclose\"", ""),
        ("request-headers = [\"X-Tenant\"]\ncors = { origins = [\"https://a.example\"] }", ""),
    ] {
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}{more}\n"));
        let text = rendered(&findings, folder.path());
        assert!(
            loads && findings.len() == usize::from(!why.is_empty()) && text.contains(why),
            "{more}: {text}"
        );
    }
}

#[test]
fn selecting_row_elements_by_position_is_a_warning() {
    let route = |record: &str, field: &str| {
        let route = ROUTE.replace("$.items[*]", record).replace("@.id", "$.of");
        let (loads, findings, _folder) =
            check_with(&format!("{route}[route.fields]\n{field:?} = \"email\"\n"));
        assert!(loads, "{findings:?}");
        codes(&findings)
    };
    for (record, field) in
        [("$.rows[*]", "@[1]"), ("$.rows[*]", "@[1, 2]"), ("$", "$.rows[*][1]"), ("$", "@.rows[*][0:2].x")]
    {
        assert_eq!(route(record, field), ["row-by-position"], "{record} {field}");
    }
    for (record, field) in
        [("$.rows[*]", "@.x"), ("$", "@.place.coordinates[1]"), ("$", "@.vcardArray[1][?@[0]=='email']")]
    {
        assert_eq!(route(record, field), [""; 0], "{record} {field}");
    }
}

#[test]
fn paths_that_select_no_column_of_a_table_are_warnings() {
    let route = |keys: &str, fields: &str| {
        let route = ROUTE.replace("record = \"$.items[*]\"\n", "");
        assert!(!route.contains("record ="));
        let (loads, findings, _folder) =
            check_with(&format!("{route}framing = \"csv\"\n{keys}\nfields = {{ {fields} }}\n"));
        assert!(loads, "{findings:?}");
        codes(&findings).into_iter().filter(|code| *code == "not-a-column").count()
    };
    let id = "\"@.id\" = \"subject-identifier\"";
    for fields in [
        "\"@['e mail']\" = \"email\"",
        "\"$.email\" = \"email\"",
        "\"@['a', 'b']\" = \"email\"",
        "\"@.more\" = { category = \"service-data\", embedded = \"json\" }, \"@.more.to[*].email\" = \"email\"",
    ] {
        assert_eq!(route("", &format!("{id}, {fields}")), 0, "{fields}");
    }
    for fields in [
        "\"@.more.email\" = \"email\"",
        "\"@.*\" = \"service-data\"",
        "\"@..email\" = \"email\"",
        "\"@[1]\" = \"email\"",
        "\"$.items[*].email\" = \"email\"",
        "\"@\" = \"service-data\"",
        "\"@.a\" = { category = \"service-data\", embedded = \"json\" }, \"@.b.email\" = \"email\"",
    ] {
        assert_eq!(route("", &format!("{id}, {fields}")), 1, "{fields}");
    }
    // Each path of a record set that is no row: the record, its subject and its field.
    assert_eq!(route("record = \"$.items[*]\"", id), 3);
    assert_eq!(route("facts = { country = \"@.address.country\" }", id), 1);
}

#[test]
fn a_controller_by_path_alone_is_a_warning() {
    let route = |controller: &str| {
        let route = ROUTE.replace("subject =", &format!("controller = {controller}\nsubject ="));
        let (loads, findings, _folder) =
            check_with(&format!("{route}[route.fields]\n\"@.note\" = \"service-data\"\n"));
        assert!(loads, "{findings:?}");
        codes(&findings)
    };
    for alone in ["\"{account}\"", "{ path = \"{account}\", namespace = \"account\" }"] {
        let codes = route(alone);
        assert!(codes.contains(&"controller-by-path-alone"), "{alone}: {codes:?}");
    }
    assert_eq!(route("\"@.account_id\""), [""; 0]);
}

/// Settings that load but cannot work or may surprise. Each causes one warning of this code; `allow` with the code, in
/// the place of `ALLOW`, acknowledges it.
const SURPRISING_SETTINGS: &[(&str, &str)] = &[
    (
        "recipient-without-credentials",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]",
    ),
    (
        "recipient-without-purposes",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"employee\"\ncountry = \"DE\"\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "recipient-without-region",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"employee\"\npurposes = [\"customer-support\"]\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "agreement-missing",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"reselling-partner\"\ncountry = \"DE\"\npurposes = [\"reseller-follow-up\"]\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "agreement-ended",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"reselling-partner\"\ncountry = \"DE\"\npurposes = [\"reseller-follow-up\"]\nagreement = { until = 2020-01-01 }\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "transfer-without-safeguard",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"domain-registrar\"\ncountry = \"US\"\npurposes = [\"domain-registration\"]\nagreement = {}\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "purpose-without-rule",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"reselling-partner\"\ncountry = \"DE\"\npurposes = [\"reseller-follow-up\", \"direct-marketing\"]\nagreement = {}\ncredentials = [{ certificate = \"x\" }]",
    ),
    (
        "locked-purpose-not-registered",
        "[[recipient]]\nALLOW\nname = \"x\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\ncredentials = [{ certificate = \"x\", purpose = \"marketing\" }]",
    ),
    ("upstream-is-own-listener", "[[upstream]]\nALLOW\nname = \"x\"\nurl = \"http://localhost:9901\""),
    (
        "answer-header-undecided",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nanswer-headers = [\"Link\", \"X-Total\"]\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "hide-existence-without-deny",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{id}\"\nhide-existence = true\nsubject = [\"{id}\", \"@.id\"]\nFIELDS",
    ),
    (
        "literal-parameter",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/:id\"\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "literal-parameter",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/*\"\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "route-without-fields",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"",
    ),
    (
        "route-without-methods",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nmethods = []\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "route-without-purposes",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\npurposes = []\nsubject = \"@.id\"\nFIELDS",
    ),
    ("personal-without-subject", "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nFIELDS"),
    (
        "personal-without-subject",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nrecord = \"$.items[*]\"\nsubject = \"@.id\"\nfields = { \"@.id\" = \"subject-identifier\", \"$.owner\" = \"name\" }",
    ),
    (
        "personal-without-subject",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nrecord = \"$.item\"\nsubject = \"@.id\"\nfields = { \"@.id\" = \"subject-identifier\", \"$.items.name\" = \"name\" }",
    ),
    (
        "names-leave",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nrecord = \"$.members.*\"\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "names-leave",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\nfields = { \"@..online\" = \"non-personal\" }",
    ),
    (
        "filter-tests-existence",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\nfields = { \"@.comments[?@.public]\" = \"published\" }",
    ),
    (
        "filter-tests-existence",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\nfields = { \"@.notes[?@.kind == 'note' && @.public].text\" = \"non-personal\" }",
    ),
    (
        "category-members-differ",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\nfields = { \"@.payment\" = \"payment\", \"@.at\" = \"contact\" }",
    ),
    (
        "category-members-differ",
        "[[schema]]\nALLOW\nname = \"s\"\nsubject = \"@.id\"\nfields = { \"@.card\" = [\"service-data\", \"payment\"] }\n\
         [[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nschema = \"s\"\n\
         [[route]]\nname = \"y\"\nupstream = \"crm\"\npath = \"/y\"\nschema = \"s\"",
    ),
    (
        "not-a-column",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nframing = \"csv\"\nsubject = \"@.id\"\nfields = { \"@.id\" = \"subject-identifier\", \"@.contact.email\" = \"email\" }",
    ),
    (
        "not-a-column",
        "[[schema]]\nALLOW\nname = \"s\"\nsubject = \"@.id\"\nfields = { \"@.id\" = \"subject-identifier\", \"@.contact.email\" = \"email\" }\n\
         [[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nframing = \"csv\"\nschema = \"s\"",
    ),
    (
        "record-set-without-fields",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nfacts = { country = \"@.country\" }\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.id\" = \"subject-identifier\", \"$.total\" = \"aggregate\" } }]",
    ),
    (
        "record-set-without-fields",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\ncontroller = \"@.account\"\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.id\" = \"subject-identifier\" } }]",
    ),
    (
        "record-set-without-fields",
        "[[schema]]\nname = \"s\"\nsubject = \"@.id\"\nfacts = { country = \"@.country\" }\n\
         [[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nschema = \"s\"\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.id\" = \"subject-identifier\" } }]",
    ),
    (
        "personal-without-subject",
        "[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nfields = { \"@.total\" = \"aggregate\" }\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.id\" = \"subject-identifier\", \"$.owner\" = \"name\" } }]",
    ),
    (
        "operation-names-nobody",
        "[[recipient]]\nname = \"p\"\nkind = \"data-subject\"\ncountry = \"DE\"\npurposes = [\"data-subject-request\"]\nallow = [\"recipient-without-credentials\"]\n[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nmethods = [\"GET\", \"PATCH\"]\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "operation-names-nobody",
        "[[recipient]]\nname = \"p\"\nkind = \"data-subject\"\ncountry = \"DE\"\npurposes = [\"data-subject-request\"]\nallow = [\"recipient-without-credentials\"]\n[[route]]\nALLOW\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{account}\"\noperation = \"destroy\"\nsubject = \"@.id\"\nFIELDS",
    ),
    (
        "names-leave",
        "[[schema]]\nALLOW\nname = \"s\"\nsubject = \"@.id\"\nfields = { \"@.settings.*\" = \"preferences\" }\n\
         [[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nschema = \"s\"",
    ),
];

#[test]
fn each_surprising_setting_is_one_warning_and_can_be_acknowledged() {
    for (code, added) in SURPRISING_SETTINGS {
        let added = added.replace("FIELDS", FIELDS);
        let (loads, findings, folder) =
            check_with(&format!("{ROUTE}{FIELDS}{}\n", added.replace("ALLOW\n", "")));
        let text = rendered(&findings, folder.path());
        let open = findings.iter().filter(|finding| finding.is_warning());
        let codes: Vec<&str> = open.map(Finding::code).collect();
        assert!(loads && codes == [*code], "{added}\n{text}");
        let allowed = added.replace("ALLOW", &format!("allow = [{code:?}]"));
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}{allowed}\n"));
        let text = rendered(&findings, folder.path());
        assert!(loads && findings.iter().all(|finding| !finding.is_warning()), "{allowed}\n{text}");
    }
}

#[test]
fn a_data_subject_without_credentials_is_advised_to_use_a_token() {
    let added = "[[recipient]]\nname = \"x\"\nkind = \"data-subject\"\ncountry = \"DE\"\n\
                 purposes = [\"data-subject-request\"]\n";
    let (_, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}{added}"));
    assert_eq!(codes(&findings), ["recipient-without-credentials"]);
    let text = rendered(&findings, folder.path());
    assert!(text.contains("subject-claim") && !text.contains("recipient key"), "{text}");
}

#[test]
fn sound_settings_cause_no_warning() {
    for added in [
        // A transfer with a safeguard; an authority under cases.
        "[[recipient]]\nname = \"x\"\nkind = \"domain-registrar\"\ncountry = \"US\"\nsafeguard = \"adequacy\"\npurposes = [\"domain-registration\"]\nagreement = { until = 2999-01-01 }\ncredentials = [{ certificate = \"x\" }]",
        "[[recipient]]\nname = \"x\"\nkind = \"public-authority\"\ncountry = \"DE\"\npurposes = [\"law-enforcement\"]\ncredentials = [{ certificate = \"x\" }]\n[admin]\nallow = [\"approvers-unverified\"]",
        // A rule permits a purpose below the registered one.
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"marketing\"]\ncredentials = [{ certificate = \"x\", purpose = \"direct-marketing\" }]",
        "[[upstream]]\nname = \"x\"\nurl = \"https://10.0.0.7:9901\"",
        // Reads are refused as a whole, and nothing but changes is served.
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{id}\"\nwithheld = \"deny\"\nhide-existence = true\nsubject = [\"{id}\", \"@.id\"]\nFIELDS",
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{id}\"\nmethods = [\"PUT\"]\nhide-existence = true\nsubject = \"{id}\"\nFIELDS",
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{id}/{*rest}\"\nsubject = \"{id}\"\nFIELDS",
        // The path identifies the subject of the change, or the purpose's rules do not depend on one.
        "[[recipient]]\nname = \"p\"\nkind = \"data-subject\"\ncountry = \"DE\"\npurposes = [\"data-subject-request\"]\nallow = [\"recipient-without-credentials\"]\n[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x/{id}\"\nmethods = [\"PATCH\", \"DELETE\"]\nsubject = [\"{id}\", \"@.id\"]\nFIELDS",
        "[[recipient]]\nname = \"p\"\nkind = \"data-subject\"\ncountry = \"DE\"\npurposes = [\"data-subject-request\"]\nallow = [\"recipient-without-credentials\"]\n[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nmethods = [\"POST\"]\npurposes = [\"customer-support\"]\nsubject = \"@.id\"\nFIELDS",
        // Filters that compare array elements, or whose existence tests can only withhold.
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nrecord = \"$[*]\"\nsubject = \"@.id\"\nfields = { \"@.a[?@.roles[?@ == 'owner']].b\" = \"non-personal\", \"@.c[?@.email]\" = \"email\", \"@.d[?@.public == true]\" = \"published\" }",
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nfields = { \"@.total\" = \"aggregate\", \"@.kind\" = \"non-personal\" }",
        // Facts about the record around the others, whose fields another record set names.
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nsubject = \"@.id\"\nfacts = { country = \"@.country\" }\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.id\" = \"subject-identifier\", \"$.name\" = \"name\" } }]",
        // A record within the others that withholds.
        "[[route]]\nname = \"x\"\nupstream = \"crm\"\npath = \"/x\"\nrecord = \"$.items[*].gift\"\n\
         records = [{ path = \"$.items[*]\", subject = \"@.id\", fields = { \"@.gift\" = \"name\" } }]",
    ] {
        let added = added.replace("FIELDS", FIELDS);
        let (loads, findings, folder) = check_with(&format!("{ROUTE}{FIELDS}{added}\n"));
        let is_sound = loads && findings.iter().all(|finding| !finding.is_warning());
        assert!(is_sound, "{added}\n{}", rendered(&findings, folder.path()));
    }
}

#[test]
fn an_upstream_that_is_the_gateway_itself_is_found() {
    for (listener, authorities, host, own) in [
        ("127.0.0.1:8443", "", "127.0.0.1:8443", true),
        ("127.0.0.1:8443", "", "localhost:8443", true),
        ("0.0.0.0:8443", "", "127.0.0.1:8443", true),
        ("0.0.0.0:8443", "", "localhost:8443", true),
        ("127.0.0.1:8443", "", "0.0.0.0:8443", true),
        ("[::]:8443", "", "[::1]:8443", true),
        ("127.0.0.1:80", "", "localhost", true),
        ("0.0.0.0:8443", "api.example", "api.example:8443", true),
        ("127.0.0.1:8443", "", "127.0.0.1:8444", false),
        ("127.0.0.1:8443", "", "10.0.0.7:8443", false),
    ] {
        let policy = pack("one-partner-360").display().to_string();
        let written = format!(
            "address = {listener:?}\nauthorities = [{authorities:?}]\nallow = [\"plaintext-listener\"]"
        );
        let sound = SOUND
            .replace("address = \"127.0.0.1:0\"", &written)
            .replace("[\"\"]", "[]")
            .replace("127.0.0.1:9000", host);
        let folder = folder(&[("purposegate.toml", &format!("policy = {policy:?}\n{sound}{ROUTE}{FIELDS}"))]);
        let (_, findings) = config::load(&folder.path().join("purposegate.toml"));
        let found = findings.iter().any(|finding| finding.code() == "upstream-is-own-listener");
        assert_eq!(found, own, "{listener} {host}: {}", rendered(&findings, folder.path()));
    }
}

#[test]
fn a_pack_without_a_rule_for_data_that_are_not_personal_is_a_warning() {
    let rule = RULES.split("\n\n").next().unwrap().replace("costumer", "customer");
    let text = format!("policy = \"pack\"\n{SOUND}{ROUTE}{FIELDS}");
    let folder =
        folder(&[("purposegate.toml", &text), ("pack/pack.toml", PACK), ("pack/rules.cedar", &rule)]);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    let codes: Vec<&str> = findings.iter().map(Finding::code).collect();
    let text = rendered(&findings, folder.path());
    assert!(config.is_some() && codes == ["pack-without-not-personal"], "{text}");
    assert!(text.contains("purposegate.toml:1:10"), "{text}");
}

#[test]
fn a_retention_period_without_a_time_of_creation_is_a_warning() {
    let folder = folder(&[("pack/pack.toml", "")]);
    with_retention(&folder.path().join("pack"));
    let fields = "fields = { \"@.id\" = \"subject-identifier\", \"@.email\" = \"email\" }\n";
    let check = |facts: &str| {
        let text = format!("policy = \"pack\"\n{SOUND}{ROUTE}{fields}{facts}");
        std::fs::write(folder.path().join("purposegate.toml"), text).unwrap();
        let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
        assert!(config.is_some());
        let open = findings.iter().filter(|finding| finding.is_warning());
        open.map(|finding| finding.code().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(check(""), ["retention-without-created"]);
    assert_eq!(check("allow = [\"retention-without-created\"]\n"), [""; 0]);
    assert_eq!(check("facts = { created = \"@.created_at\" }\n"), [""; 0]);
}

#[test]
fn warnings_are_left_out_if_there_are_errors() {
    let added =
        "[[recipient]]\nname = \"x\"\nkind = \"employee\"\nallow = [\"agreement-missing\"]\n[[upstraem]]\n";
    let (loads, findings, folder) = check_with(&format!("{ROUTE}{added}"));
    let codes: Vec<&str> = findings.iter().map(Finding::code).collect();
    assert!(!loads && codes == ["unknown-key"], "{}", rendered(&findings, folder.path()));
}

#[test]
fn configurations_of_the_tests_have_no_warning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["tests/payloads/purposegate.toml", "tests/rdap/purposegate.toml"] {
        let (config, findings) = config::load(&root.join(file));
        let open: Vec<&Finding> = findings.iter().filter(|finding| finding.is_warning()).collect();
        assert!(config.is_some() && open.is_empty(), "{file}: {open:#?}");
    }
}
