//! Networks as text, with layers of extensions among them.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, mutants, parse, sniff, troubles};

fn network(layers: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?>\n<net name=\"n\" version=\"11\">\n<layers>{layers}</layers><edges/></net>\n")
        .into_bytes()
}

fn sample() -> Vec<u8> {
    network(
        "<layer id=\"0\" name=\"w\" type=\"Const\" version=\"opset1\"><data element_type=\"f32\" shape=\"2, 3\" offset=\"0\" \
         size=\"24\"/></layer><layer id=\"1\" name=\"r\" type=\"ReLU\" version=\"opset1\"/>",
    )
}

fn domains(layers: &str) -> Vec<String> {
    parse(&Openvino, &network(layers)).operators.into_iter().map(|operator| operator.domain).collect()
}

#[test]
fn a_sound_network_is_claimed_whole_with_its_constants() {
    assert_eq!(sniff(&Openvino, &sample()), Sniff::Certain);
    let parsed = parse(&Openvino, &sample());
    assert_whole(&parsed, &sample());
    assert_eq!((parsed.tensors.len(), parsed.tensors[0].shape.as_slice()), (1, &[2, 3][..]));
    assert!(parsed.operators.iter().all(|operator| operator.domain.is_empty()));
}

#[test]
fn layers_of_extensions_and_libraries_have_domains_of_their_own() {
    assert_eq!(domains("<layer name='a' type='T' version='extension'/>"), ["openvino.extension"]);
    assert_eq!(domains("<layer name='a' type='T' version='opset1' library='x.so'/>"), ["", LIBRARY]);
    assert_eq!(domains("<layer name='a' type='T' version='opset1'><data impl='b' z='/tmp/c.dll'/></layer>").len(), 3);
    assert_eq!(domains("<layer name='a' type='PythonLayer' version='opset8'/>"), [LIBRARY]);
    let body = "<layer name='l' type='Loop' version='opset5'><body><layers><layer type='X' version='mine'/></layers></body></layer>";
    assert_eq!(domains(body), ["", "openvino.mine"]);
    assert_eq!(domains("<layer name='lib.so' type='ReLU' version='opset1'/>"), [""]);
}

#[test]
fn libraries_are_references_and_impossible_constants_are_told() {
    let parsed = parse(&Openvino, &network("<layer name='a' type='T' version='x' library='/tmp/x.so'/>"));
    assert_eq!((parsed.references[0].kind, parsed.references[0].target.as_str()), (ReferenceKind::Code, "/tmp/x.so"));
    for (offset, size) in [("-1", "4"), ("18446744073709551615", "4"), ("4", ""), ("x", "4")] {
        let parsed = parse(&Openvino, &network(&format!("<layer><data offset='{offset}' size='{size}'/></layer>")));
        assert_eq!(troubles(&parsed), [Trouble::Ambiguous], "{offset} {size}");
    }
}

#[test]
fn templates_of_tokenizers_are_handed_on() {
    let parsed = parse(&Openvino, b"<net version='11'><rt_info><chat_template value='{{ m }}'/></rt_info></net>");
    assert_eq!((parsed.texts.len(), parsed.texts[0].key.as_str()), (1, "chat_template.value"));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"<net version='11'><layers><layer ")) {
        assert_bounded(&Openvino, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Openvino, &bytes);
    }
}
