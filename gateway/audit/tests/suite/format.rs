//! The bytes on disk: a format that others read must not change by accident.

use crate::fixtures::{denial, permit, started, terminal, time};
use audit::{Configuration, Demanded, Digest, Entry, Log, LogOptions, Stopped};
use expect_test::expect;

#[test]
fn a_line_of_each_kind() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    let entries = [
        started(),
        Entry::Configuration(Configuration {
            time: time(),
            what: "policies".into(),
            before: None,
            after: Digest::of(b"policies"),
        }),
        permit("req-1"),
        terminal("req-1", 2),
        denial("req-2"),
        Entry::Stopped(Stopped {
            time: time(),
            instance: "0123456789abcdef".into(),
            reason: "signal".into(),
        }),
    ];
    for entry in &entries {
        log.append(entry.clone()).wait().unwrap();
    }
    log.close();
    let text = std::fs::read_to_string(dir.path().join("00000000000000000000.jsonl")).unwrap();
    for (line, entry) in text.lines().zip(&entries) {
        // any JSON reader can read it, and it reads back as it was
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let read: Entry = serde_json::from_value(line["entry"].clone()).unwrap();
        assert_eq!(&read, entry);
    }
    expect![[r#"
        {"format":1,"index":0,"previous":"0000000000000000000000000000000000000000000000000000000000000000","entry":{"started":{"time":"2026-11-24T09:30:00.007Z","version":"0.1.0","instance":"0123456789abcdef","cut_bytes":0,"unfinished":0}},"hash":"c24c485788a2efb8bf5d5e98f97ec881025d078fa8bbdf87589cd0f7b0a4ff6d"}
        {"format":1,"index":1,"previous":"c24c485788a2efb8bf5d5e98f97ec881025d078fa8bbdf87589cd0f7b0a4ff6d","entry":{"configuration":{"time":"2026-11-24T09:30:00.007Z","what":"policies","before":null,"after":"5b3a02e57af9b55aae545b599baa6a6798a364d8d2798a38536249f77e30fe5f"}},"hash":"fdb939519a49fbdf7b8209c1811537953d73658dcf2b8b1c979d8102be8e2df6"}
        {"format":1,"index":2,"previous":"fdb939519a49fbdf7b8209c1811537953d73658dcf2b8b1c979d8102be8e2df6","entry":{"decision":{"time":"2026-11-24T09:30:00.007Z","request":"req-1","tenant":"development","principal":{"kind":"api_key","subject":"development","key":"0123abcd"},"endpoint":"/v1/chat/completions","model":"smollm2-135m-instruct","model_digest":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","candidates":[{"zone":"eu-de-1","jurisdiction":"DE"}],"narrowed":null,"permitted":["eu-de-1"],"outcome":"permit","rules":["tenant-known","residency"],"policies":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","parameters":{"temperature":0.7,"top_p":1.0,"seed":"18446744073709551615","frequency_penalty":0.0,"presence_penalty":-0.1,"logit_bias":0,"max_tokens":256,"min_tokens":0,"stop":1,"ignore_eos":false,"choices":1,"logprobs":null,"stream":true},"prompt_tokens":31}},"hash":"da219b79646808c2ee4505f6860ecbb3b4012f5a6a51317bd31356b13ddce84c"}
        {"format":1,"index":3,"previous":"da219b79646808c2ee4505f6860ecbb3b4012f5a6a51317bd31356b13ddce84c","entry":{"terminal":{"time":"2026-11-24T09:30:00.007Z","request":"req-1","decision":2,"outcome":"completed","attempts":[{"partition":"cpu-0","zone":"eu-de-1","epoch":1,"numerics":"cpu-v1-f16","model_digest":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"}],"usage":{"prompt_tokens":31,"completion_tokens":12,"cached_tokens":0},"finish_reasons":["stop"],"error":null,"durations":{"dispatched_ms":1,"first_token_ms":40,"total_ms":310}}},"hash":"668c513a3aafdbaca751ad7f3b4fbee724c6003f0fba8f0f1468df984fb78b06"}
        {"format":1,"index":4,"previous":"668c513a3aafdbaca751ad7f3b4fbee724c6003f0fba8f0f1468df984fb78b06","entry":{"decision":{"time":"2026-11-24T09:30:00.007Z","request":"req-2","tenant":"development","principal":{"kind":"api_key","subject":"development","key":"0123abcd"},"endpoint":"/v1/chat/completions","model":"smollm2-135m-instruct","model_digest":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","candidates":[{"zone":"eu-de-1","jurisdiction":"DE"}],"narrowed":null,"permitted":["eu-de-1"],"outcome":{"deny":{"reason":"residency_violation","rule":"residency","detail":"permitted DE"}},"rules":["tenant-known","residency"],"policies":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","parameters":{"temperature":0.7,"top_p":1.0,"seed":"18446744073709551615","frequency_penalty":0.0,"presence_penalty":-0.1,"logit_bias":0,"max_tokens":256,"min_tokens":0,"stop":1,"ignore_eos":false,"choices":1,"logprobs":null,"stream":true},"prompt_tokens":31}},"hash":"0b41f27f4510a096063491ebe6b68e97d899c451e5343f26021b29b4a52f6423"}
        {"format":1,"index":5,"previous":"0b41f27f4510a096063491ebe6b68e97d899c451e5343f26021b29b4a52f6423","entry":{"stopped":{"time":"2026-11-24T09:30:00.007Z","instance":"0123456789abcdef","reason":"signal"}},"hash":"668e1fb6852a117a289a932b636736d5cd3a25cae525291f3832dd3002360fa8"}
    "#]].assert_eq(&text);
}

#[test]
fn numbers_that_change_nothing_are_absent_and_others_are_kept() {
    let mut entry = permit("req-1");
    let parameters = |entry: &Entry| match entry {
        Entry::Decision(decision) => decision.parameters.clone().unwrap(),
        _ => unreachable!("it is a decision"),
    };
    let written = serde_json::to_string(&entry).unwrap();
    for name in ["top_k", "min_p", "repetition_penalty", "stop_tokens", "demanded"] {
        assert!(!written.contains(name), "{name}");
    }
    if let Entry::Decision(decision) = &mut entry {
        let all = decision.parameters.as_mut().unwrap();
        (all.top_k, all.min_p) = (Some(40), Some(0.05));
        (all.repetition_penalty, all.stop_tokens) = (Some(1.25), Some(2));
        all.demanded = Some(Demanded {
            tools: vec!["f".into(), "g".into()],
            tool_choice: "named".into(),
            chosen: vec!["g".into()],
            response_format: "text".into(),
            grammar: Some(Digest::of(b"start: /x/")),
        });
    }
    let written = serde_json::to_string(&entry).unwrap();
    let read: Entry = serde_json::from_str(&written).unwrap();
    assert_eq!(parameters(&read), parameters(&entry));
}

#[test]
fn calls_are_entered_where_there_are_some() {
    let mut entry = terminal("req-1", 2);
    assert!(!serde_json::to_string(&entry).unwrap().contains("tool_calls"));
    if let Entry::Terminal(terminal) = &mut entry {
        terminal.tool_calls = vec!["f".into()];
        terminal.finish_reasons = vec!["tool_calls".into()];
    }
    let written = serde_json::to_string(&entry).unwrap();
    assert!(written.ends_with(r#""total_ms":310},"tool_calls":["f"]}}"#), "{written}");
    assert_eq!(serde_json::from_str::<Entry>(&written).unwrap(), entry);
}
