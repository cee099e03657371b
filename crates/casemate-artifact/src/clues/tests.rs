//! Tokens of every form and what only looks like one; hosts worth naming and hosts that are not.

use super::*;

/// Thirty characters drawn by lot once; written in two parts, so that no scanner of source takes them for a token.
const BODY: &str = concat!("zQWBuTSOoRi4A9s", "pHcVY5ncnsDkxkJ");

fn secrets(key: &str, text: &str) -> Vec<(Severity, String)> {
    let mut clues = Vec::new();
    note_secrets(&mut clues, text, Place { key, ..Place::default() });
    clues.into_iter().map(|clue| (clue.severity, clue.what)).collect()
}

fn addresses(text: &str) -> Vec<String> {
    let mut clues = Vec::new();
    note(&mut clues, text, Place::default());
    clues.into_iter().filter(|clue| clue.kind == ClueKind::Address).map(|clue| clue.what).collect()
}

#[test]
fn tokens_of_every_form_are_found_and_not_shown() {
    let jwt =
        concat!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0", ".Q7xKf2mVb9ZtR4sLw8Np3YcD6hJg1aXe0UiOoPqWlTk");
    let words = [
        (format!("ghp_{BODY}0mLq17"), Severity::High, "a GitHub token, ghp_… (40 characters)"),
        (format!("hf_{BODY}Qrst"), Severity::High, "a Hugging Face token, hf_… (37 characters)"),
        (format!("AKIA{}", "QYLPMN5HHHFPZAM2"), Severity::Medium, "the id of an AWS access key, AKIA… (20 characters)"),
        (
            format!("xoxb-{}-{}-{BODY}", "2345678901", "3456789012"),
            Severity::High,
            "a Slack token, xoxb… (57 characters)",
        ),
        (format!("AIza{BODY}B-c_d"), Severity::Medium, "a Google API key, AIza… (39 characters)"),
        (format!("sk-proj-{BODY}T3BlbkFJ{BODY}"), Severity::High, "an OpenAI key, sk-… (76 characters)"),
        (format!("sk-ant-api03-{BODY}{BODY}{BODY}AA"), Severity::High, "an Anthropic key, sk-… (105 characters)"),
        (jwt.into(), Severity::Medium, "a JSON web token, eyJ… (96 characters)"),
    ];
    for (token, severity, wanted) in words {
        for text in [token.clone(), format!("key: \"{token}\"\n"), format!("https://x:{token}@h/")] {
            assert_eq!(secrets("", &text), [(severity, wanted.to_owned())], "{text}");
        }
    }
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{BODY}{BODY}\n{BODY}==\n-----END RSA PRIVATE KEY-----\n");
    assert_eq!(secrets("", &key), [(Severity::High, "a private key, ----… (90 characters)".into())]);
    assert_eq!(secrets("aws.secret_access_key", BODY).len(), 1);
    assert_eq!(secrets("API_KEY", &format!("{BODY}{BODY}")).len(), 1);
}

#[test]
fn what_only_looks_like_a_token_is_none() {
    let texts = [
        // A wrong sum, a wrong length, an example, a part of a longer word.
        format!("ghp_{BODY}0mLq18"),
        format!("ghp_{BODY}"),
        format!("hf_{BODY}"),
        format!("hf_{}", "x".repeat(34)),
        "AKIAIOSFODNN7EXAMPLE".into(),
        format!("xhf_{BODY}Qrst"),
        format!("AIza{}", "SyDUMMYdummyDUMMYdummyDUMMYdummy123"),
        "sk-learn-estimator-of-a-pipeline-with-a-long-name-2024".into(),
        "eyJhIjoxfQ.eyJhIjoxfQ.eyJhIjoxfQ0000000000000000000000000000000".into(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(),
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----".into(),
    ];
    for text in texts {
        assert_eq!(secrets("", &text), [], "{text}");
    }
    for (key, value) in [
        ("bos_token", "<|begin_of_text|>".to_owned()),
        ("bos_token", format!("{BODY}{BODY}")),
        ("tokenizer_class", "PreTrainedTokenizerFast2024Version".into()),
        ("password", "os.environ[PASSWORD_OF_MY_DATABASE]".into()),
        ("password", "correct-horse-battery-staple".into()),
        ("api_key", "YOUR_API_KEY_GOES_HERE_PLEASE_1".into()),
        ("api_key", "/home/user/keys/secret/file1/key2".into()),
        ("sha256", format!("{BODY}{BODY}")),
    ] {
        assert_eq!(secrets(key, &value), [], "{key} {value}");
    }
}

#[test]
fn lines_of_a_file_are_looked_at_with_their_names() {
    let text = format!("# settings\nexport API_KEY=\"{BODY}\"\nname: x\ntoken = call(\"hf_{BODY}Qrst\")\n");
    let mut clues = Vec::new();
    note_lines(&mut clues, &text);
    let found: Vec<_> = clues.iter().map(|clue| (clue.line, clue.key.as_str())).collect();
    assert_eq!(found, [(Some(2), "API_KEY"), (Some(4), "token")]);
}

#[test]
fn unfamiliar_hosts_are_named_once_and_known_ones_not() {
    let onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    assert_eq!(addresses("see https://c2.evil-host.ru/x and http://c2.evil-host.ru/y"), ["the host c2.evil-host.ru"]);
    assert_eq!(addresses("http://user:pass@8.8.4.4:8080/x"), ["the network address 8.8.4.4:8080"]);
    assert_eq!(addresses("connect 93.184.216.34:4444 now"), ["the network address 93.184.216.34:4444"]);
    assert_eq!(addresses("tcp://[2606:2800:220:1::1]:443"), ["the network address [2606:2800:220:1::1]:443"]);
    assert_eq!(addresses(onion), [format!("the hidden service {onion}")]);
    for text in [
        "https://huggingface.co/a/b",
        "https://cdn-lfs.huggingface.co/x",
        "http://www.w3.org/2000/svg",
        "https://www.",
        "http://localhost:8000/",
        "http://127.0.0.1:5000",
        "http://10.0.0.1/x",
        "https://api.example.com/",
        "1.2.3.4",
        "12:30:45",
        "version 10.2.1.0",
        "://x.y",
        "file:///etc/hosts",
        "a.onion",
        "s3://bucket/key",
        "fe80::1",
        "C://windows",
        "http ://a.b",
    ] {
        assert_eq!(addresses(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_flood_of_addresses_hides_no_secret() {
    let mut clues = Vec::new();
    for n in 0..10_000 {
        note(&mut clues, &format!("http://h{n}.evil-host.ru"), Place::default());
    }
    note(&mut clues, &format!("hf_{BODY}Qrst"), Place::default());
    assert_eq!(clues.len(), ADDRESSES_MAX + 1);
}
