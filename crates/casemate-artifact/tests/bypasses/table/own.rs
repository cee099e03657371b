//! Beyond the published ones: what we found ourselves on the way, 65 to 74.

use super::{Answer, Sample, Technique, alone, pair, technique};
use crate::common::{ARGS, Member, bytes, harmless, named, pickle, safetensors, text, zip};

pub fn techniques() -> Vec<Technique> {
    [instances(), handed_on(), decoys(), looked_up(), templates(), profiles(), archives()]
        .into_iter()
        .flatten()
        .collect()
}

const LOADER: (&str, &str) = ("torch.storage", "_load_from_bytes");

fn loader() -> Vec<u8> {
    named(LOADER.0, LOADER.1)
}

fn raw() -> Vec<u8> {
    bytes(b"cos\nsystem\n(S'echo x'\ntR.")
}

fn ordered() -> Vec<u8> {
    [&named("collections", "OrderedDict")[..], b")R"].concat()
}

fn state(key: &str, value: &[u8]) -> Vec<u8> {
    [&b"}"[..], &text(key), value, b"sb"].concat()
}

fn instances() -> Vec<Technique> {
    let (instance, load, raw) = (ordered(), loader(), raw());
    vec![technique(
        65,
        "a callable kept under a name the next opcode calls",
        vec![
            pair(
                "a loader of nested pickles as `__setstate__`",
                pickle(&[&instance, &state("__setstate__", &load), &raw, b"b"]),
                pickle(&[&instance, &state("_metadata", b"}")]),
            ),
            alone("as `append`", pickle(&[&instance, &state("append", &load), &raw, b"a"])),
            alone("as `extend`", pickle(&[&instance, &state("extend", &load), b"(", &raw, b"e"])),
            alone("as `add`", pickle(&[&instance, &state("add", &load), b"(", &raw, b"\x90"])),
            alone(
                "an unknown function as `append`",
                pickle(&[&instance, &state("append", &named("evil_pkg", "f")), b"Na"]),
            ),
        ],
    )]
}

fn handed_on() -> Vec<Technique> {
    let (load, raw) = (loader(), raw());
    let (rebuild, tensor) = (named("torch._tensor", "_rebuild_from_type_v2"), named("torch", "Tensor"));
    let parameter = named("torch._utils", "_rebuild_parameter");
    let inner = [&b"(N\x89"[..], &ordered(), b"t"].concat();
    let generator = named("numpy.random._pickle", "__generator_ctor");
    let partial = named("functools", "partial");
    vec![technique(
        66,
        "a callable handed to an allowed one",
        vec![
            pair(
                "to `_rebuild_from_type_v2`",
                pickle(&[&rebuild, b"(", &load, &tensor, &raw, b"\x85NtR"]),
                pickle(&[&rebuild, b"(", &parameter, &tensor, &inner, b"}tR"]),
            ),
            pair(
                "to `__generator_ctor`",
                pickle(&[&generator, &raw, &load, b"\x86R"]),
                pickle(&[&generator, &text("PCG64"), b"\x85R"]),
            ),
            alone(
                "an unknown one to `__generator_ctor`",
                pickle(&[&generator, b"N", &named("evil_pkg", "f"), b"\x86R"]),
            ),
            alone(
                "to `partial` and on to `defaultdict`",
                pickle(&[&named("collections", "defaultdict"), &partial, &load, &raw, b"\x86R\x85R"]),
            ),
            alone(
                "`partial` whose state replaces its function",
                pickle(&[&partial, &named("builtins", "list"), b"\x85R(", &load, &raw, b"\x85}Ntb"]),
            ),
            alone("`getattr` to `partial`", pickle(&[&partial, &named("builtins", "getattr"), b"\x85R"])),
        ],
    )]
}

fn decoys() -> Vec<Technique> {
    let decoy = bytes(b"\x80\x02]q\0NN\x85.");
    let header = "{\"w\":{\"dtype\":\"U8\",\"shape\":[LL],\"data_offsets\":[0,LL]}}";
    let polyglot = |data: &[u8]| {
        let header = header.replace("LL", &data.len().to_string());
        safetensors(&format!("{header:86}"), data)
    };
    let call = b"\n0cos\nsystem\n(S'echo x'\ntR.";
    vec![
        technique(
            67,
            "more decoys than are looked into",
            vec![pair(
                "bytes of a loader behind 1,001 of them",
                pickle(&[b"(", &decoy.repeat(1001), b"l0", &loader(), &raw(), b"\x85R"]),
                pickle(&[b"(", &decoy.repeat(1000), b"l"]),
            )],
        ),
        technique(
            68,
            "safetensors that is a pickle as well",
            vec![
                pair("as safetensors", polyglot(call), polyglot(&[7; 27])).called("model.safetensors"),
                alone("under torch's extension", polyglot(call)).called("model.pt"),
            ],
        ),
    ]
}

fn looked_up() -> Vec<Technique> {
    let (newobj, getattr) = (named("copyreg", "__newobj__"), named("builtins", "getattr"));
    let tensor = named("torch", "Tensor");
    vec![
        technique(
            69,
            "`__new__` looked up on what is no class",
            vec![
                pair(
                    "on an instance",
                    pickle(&[&newobj, &ordered(), &state("__new__", &named("builtins", "list")), b"\x85R"]),
                    pickle(&[&newobj, &named("collections", "OrderedDict"), b"\x85R"]),
                ),
                alone(
                    "on a class made by `type`",
                    pickle(&[&newobj, b"(", &named("builtins", "type"), &text("X"), b")}tR"]),
                ),
            ],
        ),
        technique(
            70,
            "chains of `getattr`",
            vec![
                alone(
                    "two of them",
                    pickle(&[&getattr, &getattr, &tensor, &text("storage"), b"\x86R", &text("system"), b"\x86R"]),
                ),
                alone("the result called", pickle(&[&getattr, &tensor, &text("map_"), b"\x86R", ARGS])),
            ],
        ),
    ]
}

fn templates() -> Vec<Technique> {
    let bad = r#"{"chat_template": "{{ ''.__class__ }}""#;
    let good = br#"{"chat_template": "{{ bos_token }}"}"#.to_vec();
    let deep = format!("{bad}, \"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let long = [b"{{ a }}".repeat(200_000), b"{{ ''.__class__ }}".to_vec()].concat();
    let wide = format!("{{{{ {} ''.__class__ }}}}", "a+".repeat(100_000));
    let config = |what: &str, text: String| pair(what, text.into(), good.clone()).called("tokenizer_config.json");
    let jinja = |what: &str, text: &[u8], twin: &[u8]| pair(what, text.into(), twin.into()).called("a.jinja");
    vec![technique(
        71,
        "templates in files that break or go too deep",
        vec![
            config("JSON deeper than is read", deep),
            config("JSON that breaks after it", format!("{bad}, x}}")),
            jinja("longer than is read", &long, b"{{ a }}{{ a }}").must_be(Answer::SuspiciousOrWorse),
            jinja("an expression longer than is read", wide.as_bytes(), b"{{ a+a }}")
                .must_be(Answer::SuspiciousOrWorse),
            jinja("an underscore by its name", br"{{ x['\N{LOW LINE}_class__'] }}", b"{{ x['a'] }}"),
        ],
    )]
}

fn profiles() -> Vec<Technique> {
    let field = |key: &str, value: &[u8]| [&b"}"[..], &text(key), value, b"s"].concat();
    let empty = |module: &str, name: &str, state: &[u8]| [&named(module, name)[..], b")\x81", state, b"b"].concat();
    let rebuild = |function: &[u8], args: &[u8]| {
        let (start, class) = (named("torch._tensor", "_rebuild_from_type_v2"), named("numpy", "ndarray"));
        pickle(&[&start, b"(", function, &class, args, b"NtR"])
    };
    let transformer = ("sklearn.preprocessing._function_transformer", "FunctionTransformer");
    let holding = |function: &[u8]| pickle(&[&empty(transformer.0, transformer.1, &field("func", function))]);
    let series = |tail: &[u8]| pickle(&[&empty("pandas", "Series", &field("name", b"N")), tail]);
    let booster = named("xgboost.core", "Booster");
    let source = field("_parse_arg_template", &text("import os"));
    let interface = [&empty("collections", "Counter", &field("__array_interface__", b"}"))[..], b"\x85"].concat();
    let in_libraries = vec![
        pair(
            "a distribution whose state is source text",
            pickle(&[&empty("scipy.stats._continuous_distns", "norm_gen", &source)]),
            pickle(&[&empty("scipy.sparse._csr", "csr_matrix", &field("maxprint", b"K\x32"))]),
        ),
        pair("a transformer that holds a shell", holding(&named("os", "system")), holding(&named("numpy", "log1p"))),
        alone("a transformer that holds a loader", holding(&loader())),
        alone(
            "a constructor that opens files, handed on",
            rebuild(&booster, &[b"}N", &text("/x")[..], b"\x87"].concat()),
        ),
        pair(
            "a constructor that opens files, with arguments",
            pickle(&[&booster, b"}N", &text("/x"), b"\x87\x81"]),
            pickle(&[&booster, b")\x81}", &text("handle"), b"Nsb"]),
        ),
    ];
    let in_memory = vec![
        pair(
            "a view on memory of the file's choosing",
            rebuild(&named("numpy", "asarray"), &interface),
            rebuild(&named("torch._utils", "_rebuild_tensor_v2"), b")"),
        )
        .must_be(Answer::SuspiciousOrWorse),
        pair("items of a series", series(b"K\0K\x01s"), series(b"")),
        alone("items of an array", pickle(&[&named("numpy", "ndarray"), b"K\x01\x85\x85RK\0K\x01s"])),
    ];
    vec![
        technique(72, "what allowed classes of libraries do with their state", in_libraries),
        technique(73, "writes through allowed classes into memory", in_memory),
    ]
}

fn archives() -> Vec<Technique> {
    let manifest = |handler: &str| format!(r#"{{"runtime": "python", "model": {{"handler": "{handler}"}}}}"#);
    let mar = |handler: &str, code: &[u8]| {
        let manifest = Member::stored("MAR-INF/MANIFEST.json", manifest(handler).as_bytes());
        zip(&[manifest, Member::stored("serve.py", code)])
    };
    let good = mar("serve.py", b"def handle(data, context):\n    return data\n");
    let sample = |what: &str, bytes: Vec<u8>| -> Sample {
        pair(what, bytes, good.clone()).called("model.mar").must_be(Answer::SuspiciousOrWorse)
    };
    vec![
        technique(
            74,
            "the handler of a model archive",
            vec![
                sample("its code calls a shell", mar("serve.py", b"import os\nos.system('true')\n")),
                sample("it lies outside", mar("../serve.py", b"pass\n")),
                sample("its name is code", mar("import os; os.system('true')", b"pass\n")),
            ],
        )
        .near("model.pkl", harmless()),
    ]
}
