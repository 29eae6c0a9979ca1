//! The sentences of the pages, in English and German.
//!
//! A sentence is plain text. `{name}` stands for a value, which is escaped with it. Invariant: a sentence has the same
//! placeholders in every language.

use std::collections::BTreeSet;

macro_rules! sentences {
    ($($name:ident = $key:literal, $english:literal, $german:literal;)+) => {
        /// A sentence of a page that people receive.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the English text says what each is")]
        pub enum Sentence {
            $(#[doc = $english] $name,)+
        }

        impl Sentence {
            /// All sentences.
            pub const ALL: &'static [Sentence] = &[$(Sentence::$name,)+];

            /// The key in the configuration.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Sentence::$name => $key,)+
                }
            }

            /// The English text.
            pub const fn english(self) -> &'static str {
                match self {
                    $(Sentence::$name => $english,)+
                }
            }

            /// The German text.
            pub const fn german(self) -> &'static str {
                match self {
                    $(Sentence::$name => $german,)+
                }
            }
        }
    };
}

sentences! {
    // Dates and small words of all pages.
    Months = "months",
        "January,February,March,April,May,June,July,August,September,October,November,December",
        "Januar,Februar,März,April,Mai,Juni,Juli,August,September,Oktober,November,Dezember";
    Date = "date", "{day} {month} {year}", "{day}. {month} {year}";
    Moment = "moment", "{date}, {time} UTC", "{date}, {time} Uhr (UTC)";
    Questions = "questions", "Questions: {contact}", "Fragen: {contact}";

    // The opt-out page.
    OptOutTitle = "opt-out-title", "Marketing", "Werbung";
    OptOutQuestion = "opt-out-question", "No more marketing from {organisation}?", "Keine Werbung mehr von {organisation}?";
    OptOutQuestionUnnamed = "opt-out-question-unnamed", "No more marketing?", "Keine Werbung mehr?";
    OptOutAbout = "opt-out-about",
        "You have opened the link of a marketing message. Nothing has changed yet. You have two choices:",
        "Sie haben den Link einer Werbenachricht geöffnet. Noch hat sich nichts geändert. Sie haben die Wahl:";
    OptOutStop = "opt-out-stop", "Stop marketing", "Werbung beenden";
    OptOutStopMeans = "opt-out-stop-means",
        "From that moment we no longer use your data for marketing, and no longer give them to anybody for marketing. Messages that you need for your contract or your account go on, such as invoices and security alerts. You need not give a reason.",
        "Von diesem Augenblick an verwenden wir Ihre Daten nicht mehr für Werbung und geben sie nicht mehr für Werbung weiter. Nachrichten, die Sie für Ihren Vertrag oder Ihr Konto brauchen, erhalten Sie weiter, zum Beispiel Rechnungen und Sicherheitshinweise. Eine Begründung ist nicht nötig.";
    OptOutKeep = "opt-out-keep", "Change nothing", "Nichts ändern";
    OptOutKeepMeans = "opt-out-keep-means",
        "Close this page. What you agreed to, and what you said no to, stays as it is.",
        "Schließen Sie diese Seite. Es bleibt bei dem, was Sie erlaubt und was Sie abgelehnt haben.";
    OptOutDone = "opt-out-done", "Done: no more marketing from {organisation}", "Erledigt: keine Werbung mehr von {organisation}";
    OptOutDoneUnnamed = "opt-out-done-unnamed", "Done: no more marketing", "Erledigt: keine Werbung mehr";
    OptOutDoneMeans = "opt-out-done-means",
        "Your data are no longer used for marketing. A message that is already on its way may still arrive.",
        "Ihre Daten werden nicht mehr für Werbung verwendet. Eine Nachricht, die schon unterwegs ist, kann noch ankommen.";
    OptOutAgain = "opt-out-again",
        "Should you want marketing again, tell us. You can close this page.",
        "Möchten Sie wieder Werbung erhalten, sagen Sie es uns. Sie können diese Seite schließen.";
    OptOutUnreadable = "opt-out-unreadable", "This link cannot be read", "Dieser Link ist nicht lesbar";
    OptOutUnreadableMeans = "opt-out-unreadable-means",
        "Nothing was changed. The link may have been cut off: open it from the e-mail again. If that does not help, write to us that you object to marketing.",
        "Es wurde nichts geändert. Vielleicht ist der Link unvollständig: Öffnen Sie ihn noch einmal aus der E-Mail. Hilft das nicht, schreiben Sie uns, dass Sie der Werbung widersprechen.";
    OptOutFailed = "opt-out-failed", "That did not work", "Das hat nicht geklappt";
    OptOutFailedMeans = "opt-out-failed-means",
        "Nothing was changed. Please try again in a few minutes. If it does not work then, write to us that you object to marketing.",
        "Es wurde nichts geändert. Bitte versuchen Sie es in einigen Minuten noch einmal. Klappt es auch dann nicht, schreiben Sie uns, dass Sie der Werbung widersprechen.";

    // The report to a person.
    ReportTitle = "report-title", "What we know about you", "Was wir über Sie wissen";
    ReportAbout = "report-about", "About the person with the number {subject}. Written on {date}.", "Über die Person mit der Nummer {subject}. Erstellt am {date}.";
    ReportNamespace = "report-namespace", "Where this number is used: {namespace}.", "Wo diese Nummer verwendet wird: {namespace}.";
    ReportReceived = "report-received", "Who has received your data", "Wer Ihre Daten erhalten hat";
    ReportSaid = "report-said", "What you have said", "Was Sie erklärt haben";
    ReportUsed = "report-used", "What we use personal data for", "Wofür wir personenbezogene Daten verwenden";
    ReportOrigins = "report-origins", "Where such data come from", "Woher solche Daten stammen";
    ReportEvents = "report-events", "What is on record about that", "Was dazu aufgezeichnet ist";
    ReportLogs = "report-logs", "Where this report comes from", "Worauf diese Auskunft beruht";
    ReportRights = "report-rights", "Your rights", "Ihre Rechte";
    ReportRightsMeaning = "report-rights-meaning",
        "Under the conditions of the law you can have data about you corrected, erased or restricted, receive a copy of them that a machine reads, and object to what rests on a legitimate interest or a public task. You can withdraw every consent at any time. An objection to marketing needs no reason. You can also complain to a data protection authority, where you live or work, or where you think the law was broken.",
        "Unter den Voraussetzungen des Gesetzes können Sie Daten über sich berichtigen, löschen oder in der Verarbeitung einschränken lassen, eine maschinenlesbare Kopie verlangen und dem widersprechen, was auf einem berechtigten Interesse oder einer öffentlichen Aufgabe beruht. Jede Einwilligung können Sie jederzeit widerrufen. Ein Widerspruch gegen Werbung braucht keine Begründung. Sie können sich auch bei einer Datenschutzaufsichtsbehörde beschweren, dort, wo Sie wohnen oder arbeiten oder wo Ihrer Ansicht nach gegen das Gesetz verstoßen wurde.";
    ReportIncomplete = "report-incomplete",
        "Some of our records are missing or could not be read: the end of this report says which. This list is not complete.",
        "Einige unserer Aufzeichnungen fehlen oder waren nicht lesbar: Am Ende dieser Auskunft steht, welche. Diese Liste ist nicht vollständig.";
    ReportSince = "report-since", "Our records go back to {date}.", "Unsere Aufzeichnungen reichen zurück bis zum {date}.";
    ReportNobody = "report-nobody", "Nobody, as far as our records go back.", "Niemand, soweit unsere Aufzeichnungen zurückreichen.";
    ReportWhat = "report-what", "Which data", "Welche Daten";
    ReportWhy = "report-why", "For what", "Wofür";
    ReportWhen = "report-when", "When", "Wann";
    ReportTimes = "report-times", "{number} times: first on {first}, last on {last}", "{number}-mal: zuerst am {first}, zuletzt am {last}";
    ReportCases = "report-cases", "case {cases}", "Fall {cases}";
    ReportCasesSome = "report-cases-some", "in some of them: case {cases}", "bei einigen davon: Fall {cases}";
    ReportShared = "report-shared", "in lists about several people*", "in Listen über mehrere Personen*";
    ReportSharedMeans = "report-shared-means",
        "* The record of a list says what it held about the people in it, not about each of them: of you it held this or less.",
        "* Zu einer Liste ist aufgezeichnet, was sie über die Personen darin enthielt, nicht über jede einzelne: über Sie enthielt sie das oder weniger.";
    ReportCorrected = "report-corrected", "corrected since, on {date}", "seitdem berichtigt, am {date}";
    ReportErased = "report-erased", "erased since, on {date}", "seitdem gelöscht, am {date}";
    ReportAddress = "report-address", "Address", "Anschrift";
    ReportContact = "report-contact", "Contact", "Kontakt";
    ReportOwnStaff = "report-own-staff", "Our own staff", "Unsere eigenen Beschäftigten";
    ReportFormerRecipient = "report-former-recipient", "no longer one of our recipients", "gehört nicht mehr zu unseren Empfängern";
    ReportBasis = "report-basis", "legal basis: {basis}", "Rechtsgrundlage: {basis}";
    ReportNoBasisUnclassified = "report-no-basis-unclassified", "no legal basis on record: we had not classified these data", "keine Rechtsgrundlage aufgezeichnet: diese Daten hatten wir nicht eingeordnet";
    ReportNoBasisObserved = "report-no-basis-observed", "no legal basis on record: our rules were not applied to this yet", "keine Rechtsgrundlage aufgezeichnet: unsere Regeln galten dafür noch nicht";
    ReportUnclassified = "report-unclassified", "data that we had not classified", "Daten, die wir nicht eingeordnet hatten";
    ReportNoPurpose = "report-no-purpose", "no purpose that we know was stated", "kein uns bekannter Zweck angegeben";
    ReportRecipients = "report-recipients", "Who receives them", "Wer sie erhält";
    ReportKept = "report-kept", "Kept", "Aufbewahrt";
    ReportTransfers = "report-transfers", "To other countries", "In andere Länder";
    ReportLegalBasis = "report-legal-basis", "Legal basis", "Rechtsgrundlage";
    ReportPeriods = "report-periods", "Periods", "Fristen";
    ReportDays = "report-days", "{days} days", "{days} Tage";
    ReportSaidNothing = "report-said-nothing",
        "You have said nothing about the use of your data that we have on record.",
        "Es ist keine Erklärung von Ihnen zur Verwendung Ihrer Daten aufgezeichnet.";
    ReportLogsMeaning = "report-logs-meaning",
        "The list of recipients was read on {moment} from these records of what leaves our systems:",
        "Die Liste der Empfänger wurde am {moment} aus diesen Aufzeichnungen darüber gelesen, was unsere Systeme verlässt:";
    ReportLogsNone = "report-logs-none", "No such record was read.", "Es wurde keine solche Aufzeichnung gelesen.";
    ReportLog = "report-log", "Record", "Aufzeichnung";
    ReportLogFrom = "report-log-from", "From", "Seit";
    ReportLogUpTo = "report-log-up-to", "Read up to", "Gelesen bis";
    ReportLogMissing = "report-log-missing", "Missing", "Es fehlt";
    ReportLogEntry = "report-log-entry", "entry {number}", "Eintrag {number}";
    ReportLogNothing = "report-log-nothing", "nothing that we know of", "nach unserer Kenntnis nichts";
    ReportLogPart = "report-log-part",
        "a part: entries or their details are not there any more, or do not name people in a way that we can read",
        "ein Teil: Einträge oder ihre Einzelheiten sind nicht mehr vorhanden, oder sie nennen Personen in einer Weise, die wir nicht lesen können";
    ReportLogUnread = "report-log-unread", "all of it: it could not be read", "alles: Sie war nicht lesbar";
    ReportLogEarlier = "report-log-earlier", "read whole: a record in an earlier format", "ganz gelesen: eine Aufzeichnung in einem früheren Format";
    ReportLogEmpty = "report-log-empty", "no entries yet", "noch keine Einträge";

    // The state and the events of a person.
    StateConsent = "state-consent", "Consent", "Einwilligung";
    StateGiven = "state-given", "given", "erteilt";
    StateRefused = "state-refused", "refused", "abgelehnt";
    StateWithdrawn = "state-withdrawn", "withdrawn", "widerrufen";
    StateExpired = "state-expired", "expired", "abgelaufen";
    StateObjections = "state-objections", "Objection to", "Widerspruch gegen";
    StateUpheld = "state-upheld", "upheld", "anerkannt";
    StateOptOuts = "state-opt-outs", "Opted out of", "Weitergabe abgelehnt an";
    StateRefusedCategories = "state-refused-categories", "Not to be used", "Nicht zu verwenden";
    StateSinceRestriction = "state-since-restriction", "Agreed to since the restriction", "Seit der Einschränkung erlaubt";
    StateRelations = "state-relations", "What you asked for or take part in", "Was Sie verlangt haben oder woran Sie teilnehmen";
    StateRelationsEnded = "state-relations-ended", "Ended for one recipient", "Für einen Empfänger beendet";
    StateOnRecord = "state-on-record", "On record", "Aufgezeichnet";
    StateErased = "state-erased", "erased: your data are withheld except where the law requires them", "gelöscht: Ihre Daten werden zurückgehalten, außer wo das Gesetz sie verlangt";
    StateRestricted = "state-restricted", "restricted: your data are not used until this is lifted", "eingeschränkt: Ihre Daten werden nicht verwendet, bis dies aufgehoben ist";
    StateMinor = "state-minor", "you are not of age", "Sie sind nicht volljährig";
    StateTransferConsent = "state-transfer-consent", "you agreed to the transfer of your data to other countries", "Sie haben der Übermittlung Ihrer Daten in andere Länder zugestimmt";
    StateCountry = "state-country", "Country", "Land";
    StateRegion = "state-region", "Region", "Region";
    StateOrigin = "state-origin", "Where your data came from", "Woher Ihre Daten stammen";
    StateInGeneral = "state-in-general", "in general", "im Allgemeinen";
    OriginSelf = "origin-self", "from yourself", "von Ihnen selbst";
    OriginAutomatic = "origin-automatic", "collected automatically", "automatisch erhoben";
    OriginReferral = "origin-referral", "from somebody who referred you", "von jemandem, der Sie empfohlen hat";
    OriginResellingPartner = "origin-reselling-partner", "from a reselling partner", "von einem Vertriebspartner";
    OriginFederatedSignIn = "origin-federated-sign-in", "from the account with which you sign in", "von dem Konto, mit dem Sie sich anmelden";
    OriginEvent = "origin-event", "from an event", "von einer Veranstaltung";
    OriginSocial = "origin-social", "from a social network", "aus einem sozialen Netzwerk";
    OriginPublished = "origin-published", "from what you have published", "aus dem, was Sie veröffentlicht haben";
    OriginCustomer = "origin-customer", "from a customer of ours", "von einem unserer Kunden";
    EventNotice = "event-notice", "Privacy notice shown", "Datenschutzhinweis gezeigt";
    EventConsentGiven = "event-consent-given", "Consent given", "Einwilligung erteilt";
    EventConsentRefused = "event-consent-refused", "Consent refused", "Einwilligung abgelehnt";
    EventConsentWithdrawn = "event-consent-withdrawn", "Consent withdrawn", "Einwilligung widerrufen";
    EventObjection = "event-objection", "Objection", "Widerspruch";
    EventObjectionLifted = "event-objection-lifted", "Objection lifted", "Widerspruch zurückgenommen";
    EventObjectionUpheld = "event-objection-upheld", "Objection upheld", "Widerspruch anerkannt";
    EventObjectionOverridden = "event-objection-overridden", "Objection overridden, with a reason", "Widerspruch mit Begründung zurückgewiesen";
    EventOptOut = "event-opt-out", "Opted out of a recipient", "Weitergabe an einen Empfänger abgelehnt";
    EventOptOutLifted = "event-opt-out-lifted", "Opt-out lifted", "Ablehnung der Weitergabe zurückgenommen";
    EventRestriction = "event-restriction", "Restricted", "Eingeschränkt";
    EventRestrictionLifted = "event-restriction-lifted", "Restriction lifted", "Einschränkung aufgehoben";
    EventErasure = "event-erasure", "Erased", "Gelöscht";
    EventLogSecretErased = "event-log-secret-erased", "Older records no longer name you", "Ältere Aufzeichnungen nennen Sie nicht mehr";
    EventCategoryRefused = "event-category-refused", "Data refused", "Daten abgelehnt";
    EventCategoryAllowed = "event-category-allowed", "Data allowed", "Daten erlaubt";
    EventRelation = "event-relation", "Asked for or taken part in", "Verlangt oder teilgenommen";
    EventRelationEnded = "event-relation-ended", "No longer asked for or taken part in", "Nicht mehr verlangt oder teilgenommen";
    EventFact = "event-fact", "Recorded", "Festgehalten";
    EventCorrection = "event-correction", "Corrected", "Berichtigt";
    EventRequestReceived = "event-request-received", "Request received", "Antrag eingegangen";
    EventRequestAnswered = "event-request-answered", "Request answered", "Antrag beantwortet";
    EventWhat = "event-what", "What", "Was";
    EventDetails = "event-details", "Details", "Einzelheiten";
    DetailPurpose = "detail-purpose", "purpose", "Zweck";
    DetailRecipient = "detail-recipient", "recipient", "Empfänger";
    DetailRecipientKind = "detail-recipient-kind", "kind of recipient", "Art des Empfängers";
    DetailCategory = "detail-category", "data", "Daten";
    DetailRelation = "detail-relation", "about", "zu";
    DetailRight = "detail-right", "right", "Recht";
    DetailUntil = "detail-until", "until", "bis";
    DetailNotice = "detail-notice", "notice", "Hinweis";
    DetailChannel = "detail-channel", "by", "über";
    DetailEvidence = "detail-evidence", "evidence", "Beleg";
    DetailFacts = "detail-facts", "facts", "Angaben";

    // The closed lists of the vocabulary.
    BasisConsent = "basis-consent", "consent", "Einwilligung";
    BasisContract = "basis-contract", "contract", "Vertrag";
    BasisLegitimateInterest = "basis-legitimate-interest", "legitimate interest", "berechtigtes Interesse";
    BasisLegalObligation = "basis-legal-obligation", "legal obligation", "rechtliche Verpflichtung";
    BasisVitalInterest = "basis-vital-interest", "vital interest", "lebenswichtiges Interesse";
    BasisPublicTask = "basis-public-task", "public task", "öffentliche Aufgabe";
    BasisNotPersonal = "basis-not-personal", "not about a person", "nicht personenbezogen";
    FormClear = "form-clear", "in clear", "im Klartext";
    FormMasked = "form-masked", "masked", "maskiert";
    FormGeneralised = "form-generalised", "generalised", "vergröbert";
    FormPseudonymised = "form-pseudonymised", "pseudonymised", "pseudonymisiert";
    FormRemoved = "form-removed", "withheld", "zurückgehalten";

    // The page of a recipient.
    PartnerTitle = "partner-title", "How {recipient} receives data", "Wie {recipient} Daten erhält";
    PartnerAbout = "partner-about",
        "This page says what a program of yours has to send, what it gets, and what to do about a refusal. It holds no secret. Written on {date}, for the settings of that day.",
        "Auf dieser Seite steht, was Ihr Programm senden muss, was es bekommt und was bei einer Ablehnung zu tun ist. Sie enthält kein Geheimnis. Erstellt am {date} nach den Einstellungen dieses Tages.";
    PartnerRegistered = "partner-registered", "Registered as", "Registriert als";
    PartnerCountry = "partner-country", "Country", "Land";
    PartnerAgreement = "partner-agreement", "Agreement", "Vereinbarung";
    PartnerAgreementUntil = "partner-agreement-until", "in force until {date} (that day included, UTC)", "in Kraft bis {date} (einschließlich, UTC)";
    PartnerAgreementOpen = "partner-agreement-open", "in force, without an end", "in Kraft, ohne Ende";
    PartnerAgreementEnded = "partner-agreement-ended", "not in force: it ended on {date}", "nicht in Kraft: sie endete am {date}";
    PartnerAgreementNone = "partner-agreement-none", "none on record", "keine aufgezeichnet";
    PartnerSuspended = "partner-suspended",
        "Releases to you are suspended in the settings: every request is refused for now.",
        "Die Weitergabe an Sie ist in den Einstellungen ausgesetzt: Jede Anfrage wird zurzeit abgelehnt.";
    PartnerAddress = "partner-base", "Address of the API", "Adresse der API";
    PartnerAddressAsk = "partner-base-ask", "ask your contact for it", "erfragen Sie sie bei Ihrem Ansprechpartner";
    PartnerAuthenticate = "partner-authenticate", "How you authenticate", "Wie Sie sich ausweisen";
    PartnerKey = "partner-key",
        "API key: send the key that you were given in one of these headers. Keep it secret: whoever has it is you.",
        "API-Schlüssel: Senden Sie den Schlüssel, den Sie erhalten haben, in einem dieser Header. Halten Sie ihn geheim: Wer ihn hat, ist für uns Sie.";
    PartnerKeyCount = "partner-key-count", "{number} keys are registered.", "{number} Schlüssel sind registriert.";
    PartnerCertificate = "partner-certificate",
        "Client certificate: present a certificate with this name when the TLS connection begins. No header is needed.",
        "Client-Zertifikat: Legen Sie beim Aufbau der TLS-Verbindung ein Zertifikat mit diesem Namen vor. Ein Header ist nicht nötig.";
    PartnerToken = "partner-token",
        "Signed token (JWT): get a token from this issuer and send it in this header. It needs these claims.",
        "Signiertes Token (JWT): Holen Sie ein Token bei diesem Aussteller und senden Sie es in diesem Header. Es braucht diese Claims.";
    PartnerLocked = "partner-locked", "for this purpose only: {purpose}", "nur für diesen Zweck: {purpose}";
    PartnerLockedSome = "partner-locked-some", "{number} of these keys, for this purpose only: {purpose}", "{number} dieser Schlüssel, nur für diesen Zweck: {purpose}";
    PartnerNoCredential = "partner-no-credential", "No credential is registered for you yet: every request is refused.", "Für Sie sind noch keine Zugangsdaten registriert: Jede Anfrage wird abgelehnt.";
    PartnerHeaders = "partner-headers", "What you send with each request", "Was Sie mit jeder Anfrage senden";
    PartnerPurposeHeader = "partner-purpose-header",
        "The purpose of the request, by its name in the list below. Exactly one. If you have an order, ticket or case number, add it as the parameter case.",
        "Der Zweck der Anfrage, mit seinem Namen aus der Liste unten. Genau einer. Eine Auftrags-, Ticket- oder Fallnummer fügen Sie als Parameter case an.";
    PartnerAnswerHeader = "partner-answer-header",
        "In the answer: the purpose that was applied, and the number of our decision. Name that number when you ask us about an answer.",
        "In der Antwort: der angewandte Zweck und die Nummer unserer Entscheidung. Nennen Sie diese Nummer, wenn Sie uns nach einer Antwort fragen.";
    PartnerWithheldNothing = "partner-withheld-nothing", "Answers do not say what was withheld.", "Antworten sagen nicht, was zurückgehalten wurde.";
    PartnerWithheldCounts = "partner-withheld-counts", "The trailer Data-Purpose-Withheld of an answer says how many records and fields were withheld.", "Der Trailer Data-Purpose-Withheld einer Antwort sagt, wie viele Datensätze und Felder zurückgehalten wurden.";
    PartnerWithheldPaths = "partner-withheld-paths", "The trailer Data-Purpose-Withheld of an answer says how many records and fields were withheld, and which paths.", "Der Trailer Data-Purpose-Withheld einer Antwort sagt, wie viele Datensätze und Felder zurückgehalten wurden und unter welchen Pfaden.";
    PartnerExample = "partner-example", "An example:", "Ein Beispiel:";
    PartnerYourKey = "partner-your-key", "YOUR-KEY", "IHR-SCHLÜSSEL";
    PartnerYourToken = "partner-your-token", "YOUR-TOKEN", "IHR-TOKEN";
    PartnerPurposes = "partner-purposes", "Purposes that you can declare", "Zwecke, die Sie angeben können";
    PartnerNoPurposes = "partner-no-purposes",
        "For none of your purposes can anything leave: every request is refused.",
        "Für keinen Ihrer Zwecke kann etwas herausgegeben werden: Jede Anfrage wird abgelehnt.";
    PartnerNotForPurpose = "partner-not-for-purpose",
        "For the purpose {purpose} nothing can leave: every request that declares it is refused.",
        "Für den Zweck {purpose} kann nichts herausgegeben werden: Jede Anfrage, die ihn angibt, wird abgelehnt.";
    PartnerCase = "partner-case",
        "You receive data under a registered disclosure case only: name it as the parameter case of the purpose. Which people and which data a case covers was told to you with it, and is not on this page.",
        "Sie erhalten Daten nur unter einem registrierten Fall: Nennen Sie ihn als Parameter case des Zwecks. Welche Personen und welche Daten ein Fall umfasst, wurde Ihnen mit ihm mitgeteilt und steht nicht auf dieser Seite.";
    PartnerName = "partner-name", "Name", "Name";
    PartnerMeaning = "partner-meaning", "Meaning", "Bedeutung";
    PartnerRoutes = "partner-routes", "What you receive", "Was Sie erhalten";
    PartnerRoutesMeaning = "partner-routes-meaning",
        "The forms below are the most that can leave. What is known about a person can only reduce it: a field that depends on the person is missing, or less exact, where that person has objected, was erased, or did not agree. The values of the samples are invented.",
        "Die Formen unten sind das Äußerste, was herausgegeben werden kann. Was über eine Person bekannt ist, kann es nur verringern: Ein Feld, das von der Person abhängt, fehlt oder ist ungenauer, wo diese Person widersprochen hat, gelöscht wurde oder nicht zugestimmt hat. Die Werte der Beispiele sind erfunden.";
    PartnerOthersWithheld = "partner-others-withheld", "No other field leaves.", "Kein anderes Feld wird herausgegeben.";
    PartnerOthersLeave = "partner-others-leave", "Fields that are not listed leave too, unchanged.", "Felder, die hier nicht stehen, werden ebenfalls herausgegeben, unverändert.";
    PartnerFor = "partner-for", "For {purposes}", "Für {purposes}";
    PartnerNeedsCase = "partner-needs-case", "Under a registered disclosure case only, and of this only what the case covers.", "Nur unter einem registrierten Fall, und davon nur, was der Fall umfasst.";
    PartnerField = "partner-field", "Field", "Feld";
    PartnerHolds = "partner-holds", "What it holds", "Was es enthält";
    PartnerForm = "partner-form", "How it arrives", "Wie es ankommt";
    PartnerAlways = "partner-always", "in every answer that has it", "in jeder Antwort, die es enthält";
    PartnerDepends = "partner-depends", "depends on the person", "hängt von der Person ab";
    PartnerUnread = "partner-unread", "Answers of this path are not about people and pass unchanged.", "Antworten unter diesem Pfad handeln nicht von Personen und bleiben unverändert.";
    PartnerWhole = "partner-whole", "All or nothing: if a field of a person has to be withheld, the whole answer is refused (subject-withheld).", "Alles oder nichts: Muss ein Feld einer Person zurückgehalten werden, wird die ganze Antwort abgelehnt (subject-withheld).";
    PartnerObserved = "partner-observed", "Until {date} answers of this path leave unchanged, while we try our rules. The table says what leaves afterwards.", "Bis {date} bleiben Antworten unter diesem Pfad unverändert, während wir unsere Regeln erproben. Die Tabelle sagt, was danach herausgegeben wird.";
    PartnerObservedOnly = "partner-observed-only", "Until {date} answers of this path leave unchanged, while we try our rules. Afterwards nothing leaves for any purpose that you can declare.", "Bis {date} bleiben Antworten unter diesem Pfad unverändert, während wir unsere Regeln erproben. Danach wird für keinen Zweck, den Sie angeben können, etwas herausgegeben.";
    PartnerQuery = "partner-query", "Parameters of the query that pass: {names}. Any other is refused (query-on-withheld-field).", "Parameter der Abfrage, die zulässig sind: {names}. Jeder andere wird abgelehnt (query-on-withheld-field).";
    PartnerNoQuery = "partner-no-query", "No parameter of the query passes.", "Kein Parameter der Abfrage ist zulässig.";
    PartnerBefore = "partner-before", "In our systems", "In unseren Systemen";
    PartnerAfter = "partner-after", "As you receive it", "Wie Sie es erhalten";
    PartnerNothingLeft = "partner-nothing-left", "(nothing)", "(nichts)";
    PartnerFewer = "partner-fewer", "and {number} more fields: ask {url}", "und {number} weitere Felder: fragen Sie {url}";
    PartnerOwn = "partner-own", "What your program can ask", "Was Ihr Programm fragen kann";
    PartnerOwnPurposes = "partner-own-purposes", "your purposes, and the fields of each path in their forms, as JSON", "Ihre Zwecke und die Felder jedes Pfads mit ihren Formen, als JSON";
    PartnerOwnDecision = "partner-own-decision", "one of your decisions, by its number", "eine Ihrer Entscheidungen, nach ihrer Nummer";
    PartnerNotices = "partner-notices", "Erasures and corrections", "Löschungen und Berichtigungen";
    PartnerNoticesDuty = "partner-notices-duty",
        "If data that you received are erased, corrected or restricted, we tell you (GDPR Art. 19). Your agreement, or your own duties under Art. 16 to 18, say what you do with your copies.",
        "Werden Daten, die Sie erhalten haben, gelöscht, berichtigt oder eingeschränkt, teilen wir es Ihnen mit (Art. 19 DSGVO). Was Sie mit Ihren Kopien tun, sagen Ihre Vereinbarung oder Ihre eigenen Pflichten nach Art. 16 bis 18.";
    PartnerNoticesManual = "partner-notices-manual", "A person writes to you.", "Jemand schreibt Ihnen.";
    PartnerNoticesWebhook = "partner-notices-webhook",
        "We post each notice to your webhook, signed as Standard Webhooks says. Check the signature; answer with a status of 200 to 299 once you have stored the notice.",
        "Wir senden jede Mitteilung an Ihren Webhook, signiert nach Standard Webhooks. Prüfen Sie die Signatur; antworten Sie mit einem Status von 200 bis 299, sobald Sie die Mitteilung gespeichert haben.";
    PartnerNoticesFeed = "partner-notices-feed",
        "Read this feed with your credential, at least once a day, from its beginning. It lists what you have not acknowledged; with the value of next as after, it goes on.",
        "Lesen Sie diese Liste mit Ihren Zugangsdaten, mindestens einmal am Tag, von Anfang an. Sie enthält, was Sie nicht bestätigt haben; mit dem Wert von next als after geht sie weiter.";
    PartnerNoticesAcknowledge = "partner-notices-acknowledge", "Acknowledge each notice once you have done what it says:", "Bestätigen Sie jede Mitteilung, sobald Sie getan haben, was sie verlangt:";
    PartnerRefusals = "partner-refusals", "Refusals, and what to do", "Ablehnungen, und was zu tun ist";
    PartnerRefusalsMeaning = "partner-refusals-meaning",
        "A refusal is a document of the type application/problem+json. Its member code has one of these values. It holds no data about a person.",
        "Eine Ablehnung ist ein Dokument vom Typ application/problem+json. Sein Element code hat einen dieser Werte. Es enthält keine Daten über eine Person.";
    PartnerStatus = "partner-status", "Status", "Status";
    PartnerCode = "partner-code", "Code", "Code";
    PartnerDo = "partner-do", "What to do", "Was zu tun ist";
    PartnerStatusOfApi = "partner-status-of-api", "that of the API", "der der API";
    DoPurposeMissing = "do-purpose-missing", "Declare a purpose in the header named above.", "Geben Sie im oben genannten Header einen Zweck an.";
    DoPurposeMalformed = "do-purpose-malformed", "Send exactly one purpose, of 256 bytes at most.", "Senden Sie genau einen Zweck, mit höchstens 256 Bytes.";
    DoPurposeUnknown = "do-purpose-unknown", "Use a name from the list above.", "Verwenden Sie einen Namen aus der Liste oben.";
    DoLegalBasis = "do-legal-basis-as-purpose", "Declare what the data are for, not on which legal basis.", "Geben Sie an, wofür die Daten sind, nicht auf welcher Rechtsgrundlage.";
    DoRequestMalformed = "do-request-malformed", "Correct the request: it is not valid HTTP, or it is ambiguous.", "Berichtigen Sie die Anfrage: Sie ist kein gültiges HTTP oder mehrdeutig.";
    DoCredentialMissing = "do-credential-missing", "Send your credential.", "Senden Sie Ihre Zugangsdaten.";
    DoCredentialInvalid = "do-credential-invalid", "Check the credential: it is unknown or has ended, or two of different recipients were sent. Ask for a new one if need be.", "Prüfen Sie die Zugangsdaten: Sie sind unbekannt oder abgelaufen, oder es wurden Zugangsdaten zweier verschiedener Empfänger gesendet. Verlangen Sie nötigenfalls neue.";
    DoPurposeNotPermitted = "do-purpose-not-permitted", "Use a purpose that this page lists for this path. If you need another one, ask us: your agreement has to cover it.", "Verwenden Sie einen Zweck, den diese Seite für diesen Pfad nennt. Brauchen Sie einen anderen, fragen Sie uns: Ihre Vereinbarung muss ihn abdecken.";
    DoRecipientSuspended = "do-recipient-suspended", "Stop sending requests, and ask us why.", "Senden Sie keine Anfragen mehr und fragen Sie uns nach dem Grund.";
    DoAgreementNotInForce = "do-agreement-not-in-force", "Stop sending requests until the agreement is renewed.", "Senden Sie keine Anfragen mehr, bis die Vereinbarung erneuert ist.";
    DoLegalReferenceMissing = "do-legal-reference-missing", "Cite a registered case as the parameter case of the purpose.", "Nennen Sie einen registrierten Fall als Parameter case des Zwecks.";
    DoNoRulePermits = "do-no-rule-permits", "Do not repeat the request: no rule lets anything leave for it.", "Wiederholen Sie die Anfrage nicht: Keine Regel lässt dafür etwas heraus.";
    DoSubjectWithheld = "do-subject-withheld", "Do not repeat the request: it is about somebody whose data must not leave, or must not be changed. We may not tell you more.", "Wiederholen Sie die Anfrage nicht: Sie betrifft jemanden, dessen Daten nicht herausgegeben oder nicht geändert werden dürfen. Mehr dürfen wir Ihnen nicht sagen.";
    DoNotFound = "do-not-found", "Check the path. There may also be nothing that you may see.", "Prüfen Sie den Pfad. Vielleicht gibt es auch nichts, was Sie sehen dürfen.";
    DoReceiptPending = "do-receipt-pending", "Ask for the receipt again later.", "Fragen Sie später noch einmal nach der Quittung.";
    DoMethodNotAllowed = "do-method-not-allowed", "Use a method that the answer lists in Allow.", "Verwenden Sie eine Methode, die die Antwort in Allow nennt.";
    DoRequestTimeout = "do-request-timeout", "Send the request faster, or a smaller one.", "Senden Sie die Anfrage schneller oder eine kleinere.";
    DoDecisionPruned = "do-decision-pruned", "The record is no longer kept. Ask for decisions and receipts earlier.", "Die Aufzeichnung wird nicht mehr aufbewahrt. Fragen Sie früher nach Entscheidungen und Quittungen.";
    DoBodyTooLarge = "do-body-too-large", "Send less at a time.", "Senden Sie weniger auf einmal.";
    DoUriTooLong = "do-uri-too-long", "Shorten the address to 8 KiB at most.", "Kürzen Sie die Adresse auf höchstens 8 KiB.";
    DoExpectationFailed = "do-expectation-failed", "Leave out the header Expect.", "Lassen Sie den Header Expect weg.";
    DoAuthorityNotServed = "do-authority-not-served", "Use the host name of the API that this page or your contact gives.", "Verwenden Sie den Hostnamen der API, den diese Seite oder Ihr Ansprechpartner nennt.";
    DoQueryOnWithheldField = "do-query-on-withheld-field", "Leave out the parameter: only those that this page lists for the path pass.", "Lassen Sie den Parameter weg: Nur die, die diese Seite für den Pfad nennt, sind zulässig.";
    DoTooManyRequests = "do-too-many-requests", "Wait for as many seconds as Retry-After says, and send fewer at a time.", "Warten Sie so viele Sekunden, wie Retry-After sagt, und senden Sie weniger auf einmal.";
    DoHeadersTooLarge = "do-headers-too-large", "Send fewer or shorter headers.", "Senden Sie weniger oder kürzere Header.";
    DoMethodNotImplemented = "do-method-not-implemented", "Use a method of the lists above.", "Verwenden Sie eine Methode aus den Listen oben.";
    DoUpstreamUnreadable = "do-upstream-unreadable", "Not your fault. Tell us the number of the decision.", "Nicht Ihr Fehler. Nennen Sie uns die Nummer der Entscheidung.";
    DoUpstreamUnreachable = "do-upstream-unreachable", "Not your fault. Try again later.", "Nicht Ihr Fehler. Versuchen Sie es später noch einmal.";
    DoUnavailable = "do-unavailable", "Not your fault. Try again after as many seconds as Retry-After says.", "Nicht Ihr Fehler. Versuchen Sie es nach so vielen Sekunden, wie Retry-After sagt, noch einmal.";
    DoOverloaded = "do-overloaded", "Wait for as many seconds as Retry-After says.", "Warten Sie so viele Sekunden, wie Retry-After sagt.";
    DoUpstreamRefused = "do-upstream-refused", "The API refused the request with this status. Its own words are not passed on, because they may hold personal data, but for the names and codes in the member upstream, where a path passes them. Tell us the number of the decision.", "Die API hat die Anfrage mit diesem Status abgelehnt. Ihre eigenen Worte werden nicht weitergegeben, weil sie personenbezogene Daten enthalten können; ausgenommen sind Namen und Codes im Element upstream, wo ein Pfad sie durchlässt. Nennen Sie uns die Nummer der Entscheidung.";
}

impl Sentence {
    /// Returns the sentence with this key.
    pub fn parse(key: &str) -> Option<Sentence> {
        Sentence::ALL.iter().copied().find(|sentence| sentence.key() == key)
    }

    /// Returns the reason why a text cannot be this sentence.
    pub fn fault(self, text: &str) -> Option<String> {
        if text.trim().is_empty() {
            return Some("it is empty".to_owned());
        }
        if text.len() > MAX_SENTENCE_BYTES {
            return Some(format!("it has more than {MAX_SENTENCE_BYTES} bytes"));
        }
        let is_year = || {
            let months = || text.split(',').map(str::trim);
            months().count() == 12 && months().all(|month| !month.is_empty())
        };
        if self == Sentence::Months && !is_year() {
            return Some("it has to be the twelve months, with commas between them".to_owned());
        }
        let (wanted, found) = (placeholders(self.english()), placeholders(text));
        if wanted == found {
            return None;
        }
        let listed = wanted.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ");
        Some(match wanted.is_empty() {
            true => "it has to be without placeholders".to_owned(),
            false => format!("it has to have these placeholders, and no others: {listed}"),
        })
    }
}

/// Maximum length of a sentence of the configuration.
pub const MAX_SENTENCE_BYTES: usize = 2000;

/// Returns the names of the placeholders of a text.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

/// Replaces the placeholders of a text. One without a value stays.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let placeholder = after.split_once('}');
        let value = placeholder.and_then(|(name, tail)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, tail))
        });
        match value {
            Some((value, tail)) => {
                filled.push_str(value);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_both_languages_have_the_same_placeholders() {
        let mut keys: Vec<&str> = Sentence::ALL.iter().map(|sentence| sentence.key()).collect();
        keys.sort_unstable();
        let number = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), number);
        for sentence in Sentence::ALL {
            assert_eq!(sentence.fault(sentence.english()), None, "{sentence:?}");
            assert_eq!(sentence.fault(sentence.german()), None, "{sentence:?}");
            assert_eq!(Sentence::parse(sentence.key()), Some(*sentence));
        }
        assert_eq!(Sentence::parse("report-Title"), None);
    }

    #[test]
    fn a_text_with_other_placeholders_is_no_sentence() {
        let fault = |text: &str| Sentence::OptOutQuestion.fault(text);
        assert_eq!(fault("Plus de publicité de {organisation} ?"), None);
        for wrong in
            ["Plus de publicité ?", "{organisation} {contact}", "{Organisation}", " ", "{organisation"]
        {
            assert!(fault(wrong).is_some(), "{wrong}");
        }
        assert!(Sentence::OptOutTitle.fault("{organisation}").is_some());
        assert!(Sentence::OptOutTitle.fault(&"x".repeat(MAX_SENTENCE_BYTES + 1)).is_some());
        assert!(Sentence::Months.fault("janvier,février").is_some());
        assert!(Sentence::Months.fault(&["x"; 12].join(",")).is_none());
        for wrong in ["x,".repeat(12), ["x"; 13].join(","), format!(",{}", ["x"; 12].join(","))] {
            assert!(Sentence::Months.fault(&wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_never_read_as_a_placeholder() {
        let filled = fill("{a} and {b} {", &[("a", "{b}"), ("b", "two")]);
        assert_eq!(filled, "{b} and two {");
    }
}
