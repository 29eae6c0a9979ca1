//! Leaves of small samples, and their categories.

use super::*;
use crate::discover::observe;
use crate::discover::path::parse;
use crate::discover::walk::walk;

/// Returns the category of one leaf of a sample, with the confidence.
fn category(sample: &str, path: &str) -> (String, f64) {
    let mut node = observe(sample.as_bytes()).unwrap();
    node.collapse_maps();
    let steps = parse(path).unwrap();
    let found = walk(&node, None).leaves.into_iter().find(|leaf| leaf.steps == steps);
    let Classification { categories, confidence, reason } =
        found.unwrap_or_else(|| panic!("{path}: {sample}")).classification;
    assert!(!reason.is_empty() && confidence > 0.0 && confidence <= 1.0, "{path}: {sample}");
    (categories.join(" "), confidence)
}

#[test]
fn values_say_what_they_are_whatever_the_name_is() {
    for (name, value, expected) in [
        ("x", "ada@example.org", "email"),
        ("x", "DE89 3704 0044 0532 0130 00", "billing"),
        ("x", "203.0.113.7", "ip-address"),
        ("x", "+49 170 5550188", "phone"),
        ("x", "4111 1111 1111 1111", "payment-card-number"),
        ("x", "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.x", "secret"),
        // A version looks like an address.
        ("version", "1.2.3.4", NON_PERSONAL),
    ] {
        let sample = format!("{{\"{name}\":\"{value}\"}}");
        assert_eq!(category(&sample, &format!("$.{name}")).0, expected, "{sample}");
    }
}

#[test]
fn the_same_name_is_classified_by_the_object_around_it() {
    for (sample, path, expected) in [
        (r#"{"customer":{"id":7,"name":"Ada"}}"#, "$.customer.name", "name"),
        (r#"{"customer":{"id":7},"product":{"name":"Cup"}}"#, "$.product.name", NON_PERSONAL),
        (r#"{"customer":{"id":7}}"#, "$.customer.id", "subject-identifier"),
        (r#"{"product":{"id":7}}"#, "$.product.id", NON_PERSONAL),
        (r#"{"user":{"id":7,"city":"Bonn","state":"NW"}}"#, "$.user.state", "postal-address"),
        (r#"{"order":{"id":7,"customer_id":8,"total":12.5,"currency":"EUR"}}"#, "$.order.total", "billing"),
        (r#"{"product":{"price":12.5}}"#, "$.product.price", NON_PERSONAL),
        (r#"{"user":{"id":7,"is_active":true}}"#, "$.user.is_active", NON_PERSONAL),
        (r#"{"user":{"id":7,"created_at":"2024-05-02T10:00:00Z"}}"#, "$.user.created_at", NON_PERSONAL),
        (r#"{"emails":[{"value":"x","primary":true}],"user_id":7}"#, "$.emails[*].value", "email"),
    ] {
        assert_eq!(category(sample, path).0, expected, "{path}: {sample}");
    }
}

#[test]
fn an_unsure_leaf_of_a_person_gets_a_category_of_a_person() {
    let (unsure, confidence) = category(r#"{"user":{"id":7,"zzyzx":"Qux"}}"#, "$.user.zzyzx");
    assert_ne!(unsure, NON_PERSONAL);
    assert!(confidence < 0.5, "{confidence}");
    assert_eq!(category(r#"{"zzyzx":"Qux"}"#, "$.zzyzx").0, NON_PERSONAL);
}

#[test]
fn a_link_with_the_id_of_a_person_is_personal() {
    let sample =
        r#"{"user":{"id":"u7731x"},"self":"https://a.example/q/u7731x","docs":"https://a.example/help"}"#;
    assert_eq!(category(sample, "$.self").0, "subject-identifier");
    assert_eq!(category(sample, "$.docs").0, NON_PERSONAL);
}

#[test]
fn what_only_one_person_has_is_personal() {
    for (sample, path) in [
        // A link with the name of a user, and the link of a record to itself.
        (r#"{"product":{"by":"https://a.example/users/ines"}}"#, "$.product.by"),
        (r#"{"user_id":7,"made":"https://a.example/@ines"}"#, "$.made"),
        (r#"{"message":{"webLink":"https://a.example/items/7731x"}}"#, "$.message.webLink"),
        (r#"{"owner":{"permissionId":"1122334455"}}"#, "$.owner.permissionId"),
        (r#"{"user":{"language_code":"fi"}}"#, "$.user.language_code"),
        // Components of a name, and an account at a service.
        (
            r#"{"user":{"name":{"components":[{"kind":"given","value":"Fem"}]}}}"#,
            "$.user.name.components[*].value",
        ),
        (r#"{"user":{"social_media":[{"value":"@seun"}]}}"#, "$.user.social_media[*].value"),
        (r#"{"user":{"contentMap":{"pt":"Hello from Porto"}}}"#, "$.user.contentMap.pt"),
        (r#"{"user":{"shoe_size":42}}"#, "$.user.shoe_size"),
        (r#"{"user":{"sleeve_size":"M"}}"#, "$.user.sleeve_size"),
        // An answer, and the token of who gave it.
        (r#"{"items":[{"token":"2108528f190ffad1","answers":[{"number":42}]}]}"#, "$.items[*].token"),
        (
            r#"{"items":[{"token":"2108528f190ffad1","answers":[{"number":42}]}]}"#,
            "$.items[*].answers[*].number",
        ),
        // A thing that a person registered.
        (
            r#"{"type":"domain","handle":"D4711","entities":[{"vcardArray":["vcard",["fn",{},"text","Jens Brandt"]]}]}"#,
            "$.handle",
        ),
    ] {
        assert_ne!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
    for (sample, path) in [
        (r#"{"user":{"id":7,"plan_id":"1122334455"}}"#, "$.user.plan_id"),
        (r#"{"product":{"features":[{"name":"size","value":"M"}]}}"#, "$.product.features[*].value"),
        (r#"{"user":{"id":7},"next":"https://a.example/users?skiptoken=abc"}"#, "$.next"),
        (r#"{"user":{"id":7,"page_size":20}}"#, "$.user.page_size"),
    ] {
        assert_eq!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
}

#[test]
fn kinds_that_the_third_set_showed_are_known() {
    for (sample, path) in [
        // A name that is a number tells nothing, so a single word can be a trait.
        (r#"{"rows":[{"email":"a@b.example","c07":"widowed"}]}"#, "$.rows[*].c07"),
        (r#"{"user":{"id":7,"is_banned":true}}"#, "$.user.is_banned"),
        (r#"{"user":{"id":7,"role":"owner"}}"#, "$.user.role"),
        (r#"{"user":{"id":7,"hub_token":"x"}}"#, "$.user.hub_token"),
        (
            r#"{"appointments":[{"user_id":7,"startedAt":"2024-05-02T10:00:00Z"}]}"#,
            "$.appointments[*].startedAt",
        ),
        (
            r#"{"order":{"customer_id":7,"lines":[{"sku":"x","engraving":"for Ada"}]}}"#,
            "$.order.lines[*].engraving",
        ),
    ] {
        assert_ne!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
    for (sample, path) in [
        (r#"{"message":{"user_id":7,"bounce_rate":0.013}}"#, "$.message.bounce_rate"),
        (r#"{"user":{"id":7},"nextLink":"https://a.example/v2?$skiptoken=a1b2c3d4"}"#, "$.nextLink"),
        (r#"{"user":{"id":7},"request":{"user_id":7,"sha":"2108528f190ffad1"}}"#, "$.request.sha"),
    ] {
        assert_eq!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
}

#[test]
fn what_stands_in_an_object_about_a_person_can_be_about_something_else() {
    for (sample, path) in [
        // Relations of links.
        (
            r#"{"user":{"id":7},"_links":{"next":{"href":"/v1/pages/2"},"docs":{"href":"https://a.example/docs/x1"}}}"#,
            "$._links.next.href",
        ),
        (
            r#"{"user":{"id":7,"links":[{"rel":"next","href":"https://a.example/v2/q8/zz91"}]}}"#,
            "$.user.links[*].href",
        ),
        (r#"{"user":{"id":7},"link":"https://a.example/Visit?code=4548-4&_count=2"}"#, "$.link"),
        // Marks of the exchange.
        (r#"{"user":{"id":7},"requestId":"9d0e6e13-5b0a"}"#, "$.requestId"),
        (r#"{"user":{"id":7},"nextSyncToken":"CPDAlvWDx70CEPDAlvWDx70CGAU="}"#, "$.nextSyncToken"),
        (r#"{"order":{"customer_id":7,"offset":20,"limit":10}}"#, "$.order.limit"),
        // Parts of pictures, of texts and of lists of fields.
        (
            r#"{"user":{"images":[{"url":"https://a.example/x","width":30,"height":30}]}}"#,
            "$.user.images[*].height",
        ),
        (r#"{"mentions":[{"start":0,"end":8,"username":"k_lindh"}]}"#, "$.mentions[*].end"),
        (r#"{"user":{"id":7,"customFields":[{"id":"cf-7","value":"M"}]}}"#, "$.user.customFields[*].id"),
        (
            r#"{"visit":{"patient_id":7},"link":[{"relation":"self","url":"https://a.example/Visit?_count=2"}]}"#,
            "$.link[*].relation",
        ),
        // The language of a text, a flight, an account that is blocked.
        (r#"{"post":{"user_id":7,"text":"Hello there","lang":"en"}}"#, "$.post.lang"),
        (
            r#"{"booking":{"customer_id":7,"flights":[{"number":"LH 400","aircraft_type":"B748"}]}}"#,
            "$.booking.flights[*].number",
        ),
        (r#"{"user":{"id":7,"blocked":true}}"#, "$.user.blocked"),
        // A column of states.
        (r#"{"rows":[{"email":"a@b.example","c07":"complete"}]}"#, "$.rows[*].c07"),
        // An entry of a list of choices.
        (r#"{"user":{"id":7,"severity":{"id":3,"name":"Quite high"}}}"#, "$.user.severity.name"),
        (r#"{"user":{"id":7,"zzyzx":{"code":"q-3","label":"Inside sales"}}}"#, "$.user.zzyzx.label"),
        // The full name of a project, and a branch.
        (r#"{"issue":{"user_id":7,"repo":{"full_name":"orchard/grove"}}}"#, "$.issue.repo.full_name"),
        (r#"{"issue":{"user_id":7,"ref":"main"}}"#, "$.issue.ref"),
        // A time of a record.
        (r#"{"order":{"customer_id":7,"zzyzx":"2024-10-02T07:10"}}"#, "$.order.zzyzx"),
        // A place with a name and an address.
        (
            r#"{"user":{"id":7,"zzyzx":{"name":"Cafe 1900","address":"Am Markt 1","city":"Bonn"}}}"#,
            "$.user.zzyzx.name",
        ),
    ] {
        assert_eq!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
    for (sample, path) in [
        // A relation to the record itself, and a page of what belongs to one person.
        (r#"{"user_id":7,"_links":{"self":{"href":"/v1/tickets/8812"}}}"#, "$._links.self.href"),
        (r#"{"user":{"id":"u7731x"},"next":"https://a.example/users/u7731x/orders?page=2"}"#, "$.next"),
        // An entry that is a person, by its name.
        (r#"{"user":{"id":7,"zzyzx":{"id":3,"name":"Rui Tavares"}}}"#, "$.user.zzyzx.name"),
        (r#"{"user":{"id":7,"zzyzx":{"id":3,"name":null}}}"#, "$.user.zzyzx.name"),
        // The project of a person, by its path.
        (
            r#"{"issue":{"user":{"login":"mkowalska-dev"},"repo":{"full_name":"mkowalska-dev/store"}}}"#,
            "$.issue.repo.full_name",
        ),
        (r#"{"user":{"id":7,"full_name":"Ada Example"}}"#, "$.user.full_name"),
        // An appointment with its people, and the seat in a flight.
        (
            r#"{"items":[{"kind":"calendar#event","summary":"Interview","attendees":[{"email":"a@b.example"}],"start":{"dateTime":"2024-02-08T10:30:00Z"}}]}"#,
            "$.items[*].start.dateTime",
        ),
        (
            r#"{"booking":{"customer_id":7,"flights":[{"number":"LH 400","seat":"17A"}]}}"#,
            "$.booking.flights[*].seat",
        ),
        (r#"{"visit":{"patient_id":7,"next_visit_id":"v-8812"}}"#, "$.visit.next_visit_id"),
        // A number that may be an id, and the time of an event.
        (r#"{"order":{"customer_id":7,"zzyzx":1255081}}"#, "$.order.zzyzx"),
        (r#"{"visit":{"patient_id":7,"zzyzx":"2024-10-02T07:10"}}"#, "$.visit.zzyzx"),
    ] {
        assert_ne!(category(sample, path).0, NON_PERSONAL, "{path}: {sample}");
    }
}

#[test]
fn a_flag_of_a_trait_has_its_category_without_a_value() {
    for value in ["null", "true", "1", "\"yes\""] {
        let sample = format!("{{\"customer\":{{\"has_disability\":{value}}}}}");
        assert_eq!(category(&sample, "$.customer.has_disability").0, "health", "{sample}");
    }
}

#[test]
fn a_date_of_unknown_meaning_describes_the_person_around_it() {
    let of = |object: &str, member: &str| {
        let mut root = observe(format!("{{\"{object}\":{{\"{member}\":null}}}}").as_bytes()).unwrap();
        root.member_mut(object).member_mut(member).schema.format = Some("date-time".into());
        let found = walk(&root, None).leaves.into_iter().next().unwrap();
        found.classification.categories.join(" ")
    };
    assert_ne!(of("patient", "zzyzx"), NON_PERSONAL);
    assert_eq!(of("patient", "created_at"), NON_PERSONAL);
    assert_eq!(of("product", "zzyzx"), NON_PERSONAL);
}
