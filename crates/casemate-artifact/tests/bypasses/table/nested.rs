//! Pickles inside pickles, carriers of code, and the gadgets of libraries: 40 to 43, 45 to 48.

use super::{Answer, Sample, Technique, alone, around, each_called, pair, technique};
use crate::common::{Legacy, base64, bytes, calling, harmless, hostile, named, pickle, text, torch_zip};

pub fn techniques() -> Vec<Technique> {
    [loaders(), carriers(), gadgets()].into_iter().flatten().collect()
}

fn loaders() -> Vec<Technique> {
    let loads = |module: &str, inner: &[u8]| pickle(&[&named(module, "loads"), &bytes(inner), b"\x85R"]);
    let by_torch = |inner: &[u8]| pickle(&[&named("torch.storage", "_load_from_bytes"), &bytes(inner), b"\x85R"]);
    let bare = b"cos\nsystem\n(S'echo x'\ntR.";
    let held = |what: &str, build: &dyn Fn(&[u8]) -> Vec<u8>| around(what, "model.pkl", build).must_be(Answer::Said);
    vec![
        technique(
            40,
            "loaders of further pickles",
            ["pickle", "_pickle", "dill", "cloudpickle"]
                .map(|module| alone(&format!("`{module}.loads`"), loads(module, &hostile())))
                .into_iter()
                .chain([
                    alone("`pickle.loads` of something harmless", loads("pickle", &harmless())),
                    alone("`joblib.load` of a path", calling("joblib", "load")),
                ])
                .collect(),
        ),
        technique(
            41,
            "torch's own loader of bytes",
            vec![
                around("a pickle", "model.pkl", by_torch),
                pair("a stream without PROTO", by_torch(bare), by_torch(&harmless())),
                pair("a torch zip", by_torch(&torch_zip(&hostile())), by_torch(&Legacy::default().bytes())),
                pair(
                    "a file of torch's old format",
                    by_torch(&Legacy { system: &hostile(), ..Legacy::default() }.bytes()),
                    by_torch(&Legacy::default().bytes()),
                ),
                around("twice", "model.pkl", |inner| by_torch(&by_torch(inner))),
            ],
        ),
        technique(
            43,
            "a pickle held as a value, nothing called",
            vec![
                held("bytes", &|inner| pickle(&[&bytes(inner)])),
                held("base64 in a text", &|inner| pickle(&[&text(&base64(inner))])),
                held("base64 in bytes", &|inner| pickle(&[&bytes(base64(inner).as_bytes())])),
            ],
        ),
    ]
}

fn carriers() -> Vec<Technique> {
    let of = |outer: (&str, &str), inner: &[u8]| pickle(&[&named(outer.0, outer.1), inner, b"\x85R"]);
    let zlib = [&named("zlib", "decompress")[..], &bytes(b"x"), b"\x85R"].concat();
    let rot13 = [&named("codecs", "decode")[..], &text("x"), &text("rot13"), b"\x86R"].concat();
    let marshal = [&named("marshal", "loads")[..], &bytes(b"x"), b"\x85R}"].concat();
    vec![
        technique(
            42,
            "code in a carrier",
            vec![
                alone("`exec` of `zlib.decompress`", of(("builtins", "exec"), &zlib)),
                alone("`eval` of `codecs.decode`", of(("builtins", "eval"), &rot13)),
                alone("`base64.b64decode`", calling("base64", "b64decode")),
                alone(
                    "`types.FunctionType` of `marshal.loads`",
                    pickle(&[&named("types", "FunctionType"), &marshal, b"\x86R"]),
                ),
            ],
        ),
        technique(
            45,
            "attributes and methods by name",
            vec![
                alone("`operator.methodcaller`", calling("operator", "methodcaller")),
                alone("`_operator.methodcaller`", calling("_operator", "methodcaller")),
                getter("operator"),
                getter("_operator"),
            ],
        )
        .near("model.pkl", of(("operator", "itemgetter"), b"K\x01")),
        technique(
            46,
            "a resolver of any name",
            vec![alone("`pkgutil.resolve_name`", of(("pkgutil", "resolve_name"), &text("os:system")))],
        )
        .near("model.pkl", pickle(&[&text("os:system")])),
        technique(
            47,
            "importers",
            each_called("importlib.import_module importlib._bootstrap._gcd_import builtins.__import__"),
        ),
    ]
}

/// `attrgetter` of a dotted name, and of a plain one.
fn getter(module: &str) -> Sample {
    let of = |name: &str| pickle(&[&named(module, "attrgetter"), &text(name), b"\x85R"]);
    let twin = pickle(&[&named("operator", "attrgetter"), &text("weight"), b"\x85R"]);
    pair(&format!("`{module}.attrgetter` of a dotted dunder"), of("__class__.__base__"), twin)
}

const GADGETS: &str = "
    pip.main pip._internal.main timeit.timeit timeit.main cProfile.run cProfile.runctx profile.run profile.runctx
    trace.Trace trace:Trace.run bdb.Bdb bdb:Bdb.run pdb.run pdb.Pdb pdb.runeval doctest.debug_script code.interact
    code:InteractiveInterpreter.runcode codeop.compile_command idlelib.run idlelib.pyshell.ModifiedInterpreter
    idlelib.autocomplete.AutoComplete idlelib.debugobj.ObjectTreeItem lib2to3.main lib2to3.pgen2.pgen.ParserGenerator
    ensurepip.bootstrap ensurepip._run_pip venv.create venv.main test.support.run_code
    test.support.script_helper.assert_python_ok uuid._get_command_stdout uuid._popen _osx_support._read_output
    _osx_support._find_build_tool _aix_support._read_cmd_output _pyrepl.pager.pipe_pager _pyrepl.pager.tempfile_pager
    numpy.f2py.compile numpy.f2py.crackfortran.myeval numpy.f2py.diagnose.run_command numpy.testing.runstring
    numpy.testing._private.utils.runstring torch.hub.load torch.hub._import_module torch.utils.cpp_extension.load
    torch.utils.cpp_extension.load_inline torch.utils.collect_env.run torch._inductor.codecache.compile_file
    torch._inductor.compile_worker.main torch.fx.graph_module._exec_with_source torch.fx.graph_module._forward_from_src
    torch.jit.unsupported_tensor_ops.execWrapper torch._dynamo.guards.GuardBuilder torch.jit.annotations.parse_type_line
    torch.distributed.rpc.rpc_sync torch.distributed.nn.api.remote_module.RemoteModule torch.load pandas.eval
    pandas.read_pickle pandas.io.pickle.read_pickle sympy.parse_expr sympy.parsing.sympy_parser.parse_expr
    yaml.unsafe_load ctypes.CDLL ctypes:cdll.LoadLibrary cffi.FFI logging.config.listen logging.config.fileConfig
    logging.FileHandler sqlite3.connect urllib.request.urlopen urllib.request.urlretrieve http.client.HTTPSConnection
    ssl.get_server_certificate socket.create_connection smtplib.SMTP ftplib.FTP asyncio.run
    asyncio.create_subprocess_shell distutils.spawn.spawn distutils.file_util.write_file webbrowser.open runpy.run_path
    runpy.run_module shutil.rmtree shutil.move tempfile.mktemp pathlib:Path.write_text io.open io.FileIO fileinput.input
    linecache.getline builtins.exec builtins.eval builtins.open builtins.compile builtins.map builtins.filter
    builtins.iter builtins.getattr builtins.setattr itertools.starmap itertools.accumulate numpy.load numpy.fromfile
    numpy.save numpy.memmap numpy.vectorize numpy.apply_along_axis multiprocessing.util.spawnv_passfds
    multiprocessing.popen_spawn_posix.Popen concurrent.futures.ProcessPoolExecutor threading.Thread _thread.start_new_thread
    signal.signal atexit.register weakref.finalize contextlib:ExitStack.callback functools.singledispatch
    types.CodeType types.FunctionType inspect.getsource dis.dis zipimport.zipimporter imp.load_source site.addpackage
    xml.etree.ElementTree.parse xmlrpc.client.ServerProxy cgitb.lookup modulefinder.ModuleFinder py_compile.compile
    compileall.compile_dir pty.spawn crypt.crypt mailcap.findmatch pydoc.pipepager pydoc.locate sysconfig._init_posix
    unittest.mock._importer sched.scheduler telnetlib.Telnet";

/// They read or compute and do no more; a file has no business with them all the same.
const WEAK: &str = "ast.literal_eval getpass.getuser ntpath.isfile gc.get_objects builtins.help";

fn gadgets() -> Vec<Technique> {
    let weak = each_called(WEAK).into_iter().map(|sample| sample.must_be(Answer::SuspiciousOrWorse));
    let names: Vec<_> = GADGETS.split_whitespace().map(|gadget| text(&gadget.replace(':', "."))).collect();
    vec![
        technique(48, "the long tail of gadgets", each_called(GADGETS).into_iter().chain(weak).collect())
            .near("model.pkl", pickle(&[b"](", &names.concat(), b"e"])),
    ]
}
