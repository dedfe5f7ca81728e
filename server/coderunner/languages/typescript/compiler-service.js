// tsc, warm: the very program, loaded once, with what it has read of the standard library kept.
//
// A request is the working folder, the word tsc and tsc's arguments, each ended by a NUL, up to the end of
// the stream. The answer is the exit code in decimal, a newline, and what tsc would have printed. A request that it
// cannot serve as the plain tool would gets no answer: the client then starts the plain tool.
//
//   node --snapshot-blob BLOB --build-snapshot compiler-service.js   (when the image is made: warmed up, and kept as it is)
//   node --snapshot-blob BLOB SOCKET                                 (in a session: ready after a tenth of the time)
//   node compiler-service.js SOCKET                                  (where there is no such blob)
"use strict";

const fs = require("fs");
const net = require("net");
const os = require("os");
const path = require("path");
const { startupSnapshot } = require("v8");

const LIBRARY = "/usr/share/nodejs/";
// From version 5 on tsc.js is but a starter of its program, in which nothing has a namespace.
const PROGRAMS = [
  [`${LIBRARY}typescript/lib/_tsc.js`, "executeCommandLine(sys, noop, sys.args);"],
  [`${LIBRARY}typescript/lib/tsc.js`, "ts.executeCommandLine(ts.sys, ts.noop, ts.sys.args);"],
];
const MAX_REQUEST_BYTES = 1 << 20;
const WARM_UPS = 2; // then it takes 50 ms of CPU; more rounds gain little
const WARM_UP_MS = 5000; // on a busy machine a service that is ready serves better
const OPTIONS = fs.readFileSync(`${__dirname}/options`, "utf8").trim().split(/\s+/);
const INDIFFERENT = new Set(["--pretty", "--outDir", "--rootDir"]); // to how a file is parsed
const SOURCE = /\.[cm]?tsx?$/;

class Exit extends Error {
  constructor(code) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** What is needed of tsc's program, without the statement that runs it; `createSourceFile` can be replaced. */
function load() {
  const [file, start] = PROGRAMS.find(([name]) => fs.existsSync(name));
  const text = fs.readFileSync(file, "utf8");
  const at = text.lastIndexOf(start);
  if (at < 0) throw new Error("this tsc is another one than expected");
  const bare = "sys, noop, executeCommandLine, get createSourceFile() { return createSourceFile; },"
    + " set createSourceFile(other) { createSourceFile = other; }";
  const module = { exports: {} };
  const compiled = require("vm").compileFunction(
    `${text.slice(0, at)}; return ${start.startsWith("ts.") ? "ts" : `{ ${bare} }`};`,
    ["require", "module", "exports", "__filename", "__dirname"],
    { filename: file },
  );
  return compiled(require, module, module.exports, file, path.dirname(file));
}

const ts = load();

// Files of the library are parsed once. What a parsed file is used for depends on the options, so it is kept for
// one set of options only.
const parsed = new Map();
let parsedFor = "";
const parse = ts.createSourceFile;
ts.createSourceFile = function (name, text, ...rest) {
  if (!name.startsWith(LIBRARY)) return parse(name, text, ...rest);
  let file = parsed.get(name);
  if (!file) parsed.set(name, (file = parse(name, text, ...rest)));
  return file;
};

function optionsOf(words) {
  const project = words.includes("-p") ? fs.readFileSync("tsconfig.json", "utf8") : "";
  const kept = words.filter((word, at) => !INDIFFERENT.has(word) && !INDIFFERENT.has(words[at - 1]) && !SOURCE.test(word));
  return JSON.stringify([kept, project]);
}

function compile(words) {
  const options = optionsOf(words);
  if (options !== parsedFor) {
    parsed.clear();
    parsedFor = options;
  }
  let said = "";
  const system = {
    ...ts.sys,
    args: words,
    write: (text) => void (said += text),
    exit: (code) => {
      throw new Exit(code ?? 0);
    },
  };
  try {
    ts.executeCommandLine(system, ts.noop, words);
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return { code: error.code, said };
  }
  return { code: 0, said };
}

function serve(bytes, socket) {
  const words = bytes.toString("utf8").split("\0");
  const whole = words.pop() === "";
  const [folder, tool, ...rest] = words;
  if (!whole || folder !== process.cwd() || tool !== "tsc") return socket.destroy();
  try {
    const { code, said } = compile(rest);
    socket.end(`${code}\n${said}`);
  } catch (error) {
    parsed.clear(); // whatever state it was left in
    console.error(error);
    socket.destroy();
  }
}

function listen(place) {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const pieces = [];
    let length = 0;
    socket.on("error", () => {}); // the client has stopped waiting
    socket.on("data", (piece) => {
      pieces.push(piece);
      length += piece.length;
      if (length > MAX_REQUEST_BYTES) socket.destroy();
    });
    socket.on("end", () => serve(Buffer.concat(pieces), socket));
  });
  // Bound under another name first: whoever sees the socket can connect to it.
  const early = `${place}.early`;
  fs.rmSync(early, { force: true });
  server.listen(early, () => fs.renameSync(early, place));
}

/** With the options of the plain compile line, whose parsed library is kept for what comes. */
function warmUp(above, milliseconds) {
  const folder = fs.mkdtempSync(path.join(above, "warm-up-"));
  for (let round = 0; round < WARM_UPS; round++) {
    for (const source of fs.readdirSync(`${__dirname}/warm-up`)) {
      if (performance.now() > milliseconds) break;
      compile([...OPTIONS, "--pretty", "false", "--outDir", folder, `${__dirname}/warm-up/${source}`]);
    }
  }
  fs.rmSync(folder, { recursive: true });
  if (global.gc) global.gc();
}

if (startupSnapshot.isBuildingSnapshot()) {
  warmUp(os.tmpdir(), Infinity);
  startupSnapshot.setDeserializeMainFunction(() => listen(process.argv.at(-1)));
} else {
  const place = process.argv.at(-1);
  warmUp(path.dirname(place), WARM_UP_MS);
  listen(place);
}
