//! The words of error codes that pass without being listed.
//!
//! A word stands here only if it tells about the form of a request and not about a person: neither `deceased` nor `fraud`,
//! `minor` or `suspended`. Words that are usual as names are not listed either, but for those of [`ALSO_NAMES`]: a code has a
//! word beside them that is neither of these nor one of [`FUNCTION_WORDS`].

use std::collections::HashSet;
use std::sync::LazyLock;

/// The words, sorted.
const WORDS: &str = "a able above absent accept acceptable accepted access action added after agreement \
    all allow allowed already an and another any api apply argument arguments array as assigned at \
    attribute attributes authorization authorized available bad batch be before begin below between \
    blank body bool boolean both bound bounds bulk by byte bytes cannot cant case change changed \
    character characters characterset chars charset check checksum class code codes collection \
    combination common complete compression condition conditions conflict conflicting constraint \
    constraints contain contains content conversion convert could count country create created \
    currency current cycle data database date datetime days decimal decode default defined definition \
    delete deleted denied depends deprecated depth did digit digits disallowed discriminator does \
    domain dot double duplicate duplicated duplicates each early element elements email empty enabled \
    encoding end entity entries entry enum enumeration equal equals err error errors exact exactly \
    exceed exceeded exceeds excluded exclusive exist existing exists expected expiration expired \
    expires expression extension external extra fail failed failure false few field fields file filter \
    final first flag float forbidden foreign form format found fraction from future general generic \
    given global greater group handle has hash header headers hex high host hours id identical \
    identifier identifiers if ignored illegal immutable import in inclusive incompatible incomplete \
    inconsistent incorrect index input insufficient int integer integrity internal into invalid is iso \
    item items json key keys language large larger last late later least left length less letter \
    letters level limit limited line link list literal locale location lock long longer lookup low \
    lower lowercase main malformed mandatory many mapping match matches matching max maximum media \
    message method min minimum minutes mismatch mismatched missing modified more most multiple must \
    mutually name named negative nested new next no non none not null nullable number numbers numeric \
    object of off ok old on once one only operation operator option optional or order other out \
    outside over overflow own page parameter parameters params parent parse parsing part partial past \
    path pattern payload pending per permission permitted phone place pointer positive possible \
    precision precondition prefix present previous primary problem processed processing prohibited \
    property protected provided quantity query quota range rate reached read readonly reason received \
    record records redundant ref reference referenced references referential regex regexp region \
    reject rejected relation relationship remove removed repeated replace request required requires \
    resolved resource resources response retry right root row rule rules same scale schema scheme \
    second seconds section segment selected selection sequence server service set short shorter should \
    sign signature size small smaller some source space special state status step string structure sub \
    subset suffix supported symbol syntax system table take taken target temporary text than that the \
    there this time timeout timestamp timezone to token too total transition trim true truncated type \
    types unable unauthorized unavailable undefined under unequal unexpected unicode unique uniqueness \
    unit unknown unprocessable unrecognized unresolved unsupported until update updated upper \
    uppercase uri url usage use used uuid valid validate validated validation validator value values \
    version violated violation violations was whitespace whole window wrong xml year years zero zone";

/// Words that can be the name of a person.
const ALSO_NAMES: &str = "able batch begin blank bound case check common count date domain dot early \
    field fields first flag general given group hash high host iso key keys large letter line link \
    list lock long low main max min more negative new null page parent place positive record right \
    root row rule short sign small space step table true unique uri wrong";

/// Short words without a meaning of their own, some of which are names as well (`An`, `To`).
const FUNCTION_WORDS: &str = "a after all already an and another any as at be before below between both \
    by did does each few from has if in into is less many no non of off ok old on once one only or other \
    out outside over own past per same some than that the there this to under until was";

/// True if a word in lower case is one of error codes.
pub(super) fn is_known(word: &str) -> bool {
    static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| WORDS.split_ascii_whitespace().collect());
    KNOWN.contains(word)
}

/// True if a word makes a code of words that are known: it is neither a name nor a function word.
pub(super) fn tells_error(word: &str) -> bool {
    let mut others = ALSO_NAMES.split_ascii_whitespace().chain(FUNCTION_WORDS.split_ascii_whitespace());
    is_known(word) && others.all(|other| other != word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sorted_and_in_lower_case() {
        let words: Vec<&str> = WORDS.split_ascii_whitespace().collect();
        assert!(words.is_sorted());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        for others in [ALSO_NAMES, FUNCTION_WORDS] {
            let others: Vec<&str> = others.split_ascii_whitespace().collect();
            assert!(others.is_sorted() && others.iter().all(|word| is_known(word) && !tells_error(word)));
        }
        assert!(tells_error("required") && tells_error("too") && !tells_error("jane"));
    }

    #[test]
    fn no_word_tells_about_a_person() {
        for word in [
            "deceased",
            "fraud",
            "account",
            "closed",
            "disabled",
            "minor",
            "suspended",
            "bankrupt",
            "blocked",
            "mark",
            "rose",
            "bill",
            "will",
            "may",
            "grace",
            "smith",
            "male",
            "female",
            "married",
            "banned",
            "debt",
            "insolvent",
        ] {
            assert!(!is_known(word), "{word}");
        }
    }
}
