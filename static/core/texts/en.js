// All texts of the page in English, by the part of the page that shows them. A translation is one more file with the same
// keys, named in static/app/texts.js; the type checker tells which of them it lacks. What a text has to be told is a
// parameter of it. `*word*` is emphasis, in the texts that index.html shows. Texts that are in a terminal or an outcome
// begin with a small letter where they follow another one.
import { words } from './words.js';

const { plural, number } = words('en');

/** @param {number} count */
const files = (count) => plural(count, { one: '1 file', other: `${number(count)} files` });

/** @typedef {typeof en} Texts */
export const en = {
  locale: 'en',

  units: {
    /** @param {number} bytes */
    bytes: (bytes) => `${bytes} B`,
    /** @param {number} value @param {number} digits behind the point @param {number} power of 1024: 1 to 3 */
    size: (value, digits, power) => `${number(value, digits)} ${['KB', 'MB', 'GB'][power - 1]}`,
    /** @param {number} ms */
    milliseconds: (ms) => `${ms} ms`,
    /** @param {number} value @param {number} digits behind the point */
    seconds: (value, digits) => `${number(value, digits)} s`,
    /** @param {number} count */
    minutes: (count) => `${count} min`,
    /** @param {number} count */
    hours: (count) => `${count} h`,
    /** @param {number} minutes @param {number} seconds */
    minutesSeconds: (minutes, seconds) => `${minutes} min ${seconds} s`,
    /** @param {number} hours @param {number} minutes */
    hoursMinutes: (hours, minutes) => `${hours} h ${minutes} min`,
    underMinute: 'less than a minute',
  },

  page: {
    description: 'Write code, run it, and type into it, in a container of its own.',
    skip: 'Skip to the editor',
    noScript: 'CodeRunner needs JavaScript.',
    dismiss: 'Dismiss',
    cancel: 'Cancel',
    ok: 'OK',
    other: 'Other',
    close: 'Close',
    menus: 'Menus',
    views: 'Views',
    keys: 'Keys',
    noServer: 'The server does not answer.',
    /** @param {string} why */
    againByItself: (why) => `Trying again by itself. (${why})`,
  },

  bar: {
    tree: 'Show or hide the files',
    samples: 'Samples',
    runOptions: 'Run options',
    options: 'Options',
    repl: 'REPL',
    replHint: 'The language’s own prompt, with this program loaded where it can be',
    run: 'Run',
    stop: 'Stop',
    theme: 'Switch between dark and light',
    help: 'Help and keyboard shortcuts',
    more: 'Settings and session',
  },

  languages: {
    title: 'Languages',
    find: 'Find a language',
    none: 'No language of this name.',
    ready: 'Ready',
    building: 'Being prepared',
    failed: 'Not available',
    noteBuilding: 'being prepared',
    notePending: 'waiting',
    noteFailed: 'not available',
    /** @param {string} title */
    notReady: (title) => `${title} is not ready yet`,
    /** @param {string} title */
    isPrepared: (title) => `${title} is being prepared.`,
    isPreparedDetail: 'You can write already; it can run in a moment.',
    /** @param {string} title */
    notPrepared: (title) => `${title} could not be prepared on this server.`,
  },

  settings: {
    help: 'Help and shortcuts',
    systemTheme: 'Follow the system’s theme',
    screenReader: 'Screen reader mode of the terminals',
    textSize: 'Text size',
    /** @param {number} size */
    textSizeIs: (size) => `Text size ${size}`,
    smaller: 'Smaller text',
    larger: 'Larger text',
    smallerSign: 'A−',
    largerSign: 'A+',
    again: 'Begin the sample anew',
    end: 'End the session',
  },

  options: {
    entry: 'What is run',
    args: 'Program arguments',
    argsExample: 'one "two words"',
    argsHint: 'As in a shell: spaces separate, quotes keep together.',
    quote: 'A quote is not closed.',
    env: 'Environment',
    envExample: 'NAME=value',
    envHint: 'A line each; # begins a remark.',
    stdin: 'Standard input',
    typed: 'What is typed',
    mode: 'How the program is connected',
    tty: 'Terminal',
    ttyHint: 'Keys go straight to the program, output appears at once, colours work. A line has at most 4,095 bytes.',
    pipe: 'Pipes',
    pipeHint: 'Input by lines with an end, separate error output, as in a script. Output may be buffered.',
    /** @param {number} count */
    variables: (count) => plural(count, { one: '1 variable', other: `${number(count)} variables` }),
    pipes: 'pipes',
    /** @param {number} line @param {string} why */
    envLine: (line, why) => `Line ${line}: ${why}`,
    envExpected: 'NAME=value is expected.',
    envName: 'a name has letters, digits and _, and no digit first.',
    envValue: 'the value has a character that cannot be used.',
    envLong: 'the value is too long.',
    /** @param {number} most */
    envMany: (most) => `At most ${number(most)} variables.`,
  },

  projects: {
    title: 'Projects',
    fresh: 'New project…',
    rename: 'Rename…',
    remove: 'Delete…',
    newTitle: 'New project',
    name: 'Name',
    create: 'Create',
    renameTitle: 'Rename the project',
    renameOk: 'Rename',
    removeTitle: 'Delete the project?',
    /** @param {string} name */
    removeText: (name) => `“${name}” and all its files cannot be brought back.`,
    removeOk: 'Delete',
    needsName: 'A project needs a name.',
    longName: 'The name is too long.',
    another: 'Another project',
    kept: 'The project is kept.',
    notKept: 'The project could not be kept.',
    /** @param {string} path */
    split: (path) => `“${path}” was changed in another tab as well.`,
    /** @param {string} copy */
    splitDetail: (copy) => `What you wrote here is “${copy}” now.`,
    /** @param {string} path */
    restored: (path) => `“${path}” is kept.`,
    restoredDetail: 'It was changed in another tab while it was deleted here.',
    unsaved: 'This browser does not keep your files.',
    /** @param {string} why */
    unsavedDetail: (why) => `${why} They are gone when this page is: download them.`,
    full: 'Its storage is full.',
    off: 'Its storage is switched off or does not answer.',
  },

  files: {
    title: 'Files',
    tree: 'Files of the project',
    width: 'Width of the files',
    fresh: 'New file',
    transfer: 'Upload and download',
    uploadInput: 'Files to upload',
    uploadFolderInput: 'Folder to upload',
    file: 'File',
    made: 'Made by programs',
    more: 'and more',
    /** @param {number} count */
    andMore: (count) => `and ${number(count)} more`,
    run: 'run',
    runHint: 'This file is run',
    clash: 'Changed by a program and by you',
    /** @param {string} path */
    actions: (path) => `Actions for ${path}`,
    newLabel: 'Name, with its folder if it has one',
    create: 'Create',
    newFolder: 'New folder',
    name: 'Name',
    rename: 'Rename',
    newName: 'New name',
    removeFile: 'Delete the file?',
    removeFolder: 'Delete the folder?',
    /** @param {string} path */
    removeFileText: (path) => `“${path}” cannot be brought back.`,
    /** @param {string} path */
    removeFolderText: (path) => `“${path}” and everything in it cannot be brought back.`,
    remove: 'Delete',
    menuNew: 'New file here…',
    menuUpload: 'Upload files here…',
    menuDownload: 'Download',
    menuKeep: 'Keep in the project',
    menuRun: 'Run this file',
    isRun: 'is run',
    menuRename: 'Rename…',
    menuRemove: 'Delete…',
    /** @param {string} size */
    most: (size) => `${size} a file`,
    upload: 'Upload files or a zip…',
    uploadFolder: 'Upload a folder…',
    makeFolder: 'New folder…',
    downloadProject: 'Download the project',
    downloadAll: 'Download with what programs made',
    zip: 'zip',
    notSent: 'A change of the files did not reach the session.',
    /** @param {string} path */
    failed: (path) => `“${path}”: that did not work.`,
    /** @param {string} path */
    noText: (path) => `A program wrote “${path}”, and it is no text now.`,
    noTextDetail: 'Programs have theirs until you choose.',
    /** @param {string} path */
    changedTwice: (path) => `“${path}” was changed by a program and by you.`,
    changedTwiceDetail: 'Programs have their version until you choose.',
    mine: 'Keep mine',
    theirs: 'Take the program’s',
    notDownloaded: 'The file could not be downloaded.',
    gone: 'It is not there any more.',
  },

  names: {
    missing: 'A file needs a name.',
    slash: 'A name must not begin with “/”.',
    character: 'The name has a character that cannot be used.',
    part: 'A part of the name between “/” is missing, “.” or “..”.',
    long: 'The name is too long.',
    deep: 'There are too many folders in one another.',
    file: 'There is a file of this name already.',
    folder: 'There is a folder of this name already.',
    /** @param {string} path */
    noFolder: (path) => `“${path}” is a file, not a folder.`,
    twins: 'There are two files of this name.',
  },

  upload: {
    failed: 'The upload did not work.',
    unread: 'What was dropped could not be read.',
    unpack: 'Unpack the archive?',
    /** @param {string} path @param {string} size */
    unpackText: (path, size) => `“${path}” (${size}) can be unpacked, or kept as one file.`,
    unpackOk: 'Unpack',
    keepOne: 'Keep as one file',
    tooMuch: 'That is too much at once.',
    /** @param {number} most @param {string} mostSize @param {number} count @param {string} size */
    tooMuchDetail: (most, mostSize, count, size) => `At most ${files(most)} and ${mostSize}; these are ${number(count)} with ${size}.`,
    /** @param {string} path */
    notTaken: (path) => `“${path}” cannot be taken.`,
    nothing: 'Nothing was uploaded.',
    empty: 'There is no file in it.',
    /** @param {string} paths @param {string} size */
    leftOut: (paths, size) => `Left out: ${paths}. A file may have ${size} at most.`,
    /** @param {string[]} paths @param {number} more */
    named: (paths, more) => `${paths.map((path) => `“${path}”`).join(', ')}${more ? ` and ${number(more)} more` : ''}`,
    /** @param {number} count */
    replace: (count) => plural(count, { one: 'Replace the file?', other: `Replace ${number(count)} files?` }),
    /** @param {string} paths @param {number} count */
    replaceText: (paths, count) => plural(count, { one: `${paths} is there already.`, other: `${paths} are there already.` }),
    replaceOk: 'Replace',
    /** @param {number} count */
    done: (count) => `${files(count)} uploaded.`,
    noSession: 'There is no session to put them in.',
    noZip: 'This is not a zip archive, or it is broken.',
    /** @param {number} count @param {number} most */
    zipMany: (count, most) => `The archive has ${files(count)}; at most ${number(most)} can be taken.`,
    zipLarge: 'The archive unpacks to more than can be taken.',
    /** @param {string} path @param {string} why */
    zipFile: (path, why) => `“${path}”: ${why}.`,
    zipEncrypted: 'it is encrypted',
    zipUnknown: 'it is packed in a way that is not known here',
    zipSum: 'it is damaged: its sum is wrong',
    zipDamaged: 'it is damaged',
    zipBroken: 'it cannot be unpacked, as the archive is broken',
  },

  editor: {
    title: 'Editor',
    none: 'No file is open',
    noneText: 'Choose one of the project’s files, or make a new one.',
    width: 'Width of the output',
    openFiles: 'Open files',
    /** @param {string} path */
    closeFile: (path) => `Close ${path}`,
    /** @param {string} path */
    madeFile: (path) => `${path}, made by a program`,
    /** @param {string} path */
    codeOf: (path) => `Code of ${path}`,
    /** @param {number} line @param {number} column */
    at: (line, column) => `Line ${line}, column ${column}`,
    /** The editor's own, by what it calls them. @type {Record<string, string>} */
    phrases: {
      Find: 'Find', Replace: 'Replace', next: 'next', previous: 'previous', all: 'all', 'match case': 'match case', regexp: 'regexp',
      'by word': 'by word', replace: 'replace', 'replace all': 'replace all', close: 'close', 'current match': 'current match',
      'replaced $ matches': 'replaced $ matches', 'replaced match on line $': 'replaced match on line $', 'on line': 'on line',
      'Go to line': 'Go to line', go: 'go', Completions: 'Completions', Diagnostics: 'Diagnostics', 'No diagnostics': 'No diagnostics',
      'Fold line': 'Fold line', 'Unfold line': 'Unfold line', 'Folded lines': 'Folded lines', 'Unfolded lines': 'Unfolded lines',
      'folded code': 'folded code', unfold: 'unfold', to: 'to', 'Control character': 'Control character', 'Selection deleted': 'Selection deleted',
    },
  },

  keys: {
    forTerminal: 'Keys for the terminal',
    forCode: 'Keys for the code',
    esc: 'Esc',
    tab: 'Tab',
    ctrl: 'Ctrl',
    home: 'Home',
    end: 'End',
    undo: 'Undo',
    redo: 'Redo',
    up: 'Up',
    down: 'Down',
    left: 'Left',
    right: 'Right',
    interrupt: 'Interrupt, Ctrl C',
    endOfInput: 'End of input, Ctrl D',
    indent: 'Indent',
    outdent: 'Indent less',
    selection: 'Selection',
    copy: 'Copy',
    paste: 'Paste',
  },

  program: {
    title: 'Program',
    parts: 'Parts of the program’s pane',
    output: 'Output',
    problems: 'Problems',
    files: 'Files',
    pipes: 'pipes',
    watching: 'watching',
    /** @param {string} project */
    of: (project) => `of ${project}`,
    clear: 'Clear the program’s output',
    nothing: 'Nothing has run yet',
    nothingText: 'Press *Run* to see your program here, and type right into it.',
    input: 'Input',
    inputExample: 'A line for the program’s standard input',
    send: 'Send',
    eof: 'EOF',
    eofHint: 'End of input (Ctrl D)',
    endOfInput: 'end of input',
    ready: 'Ready',
    starting: 'Starting',
    compiling: 'Compiling',
    running: 'Running',
    ending: 'Ending',
    notStarted: 'Not started',
    notStartedTitle: 'Not started.',
    notSent: 'It could not be sent.',
    endedWithSession: 'Ended with its session',
    forgotten: 'Not known any more',
    forgottenDetail: 'the server has forgotten this program',
    newSession: 'A file was renamed or deleted, so this runs in a new session.',
    /** @param {number} bytes */
    gap: (bytes) => `… ${number(bytes)} bytes of earlier output are not kept …`,
    /** @param {string} label @param {string} title @param {string} details */
    ended: (label, title, details) => `${label}: ${title}. ${details}`,
    /** @param {string} label */
    holdsOutput: (label) => `${label} holds its output back.`,
    holdsOutputDetail: 'Ctrl-S does that, and Ctrl-Q lets go of it.',
    /** @param {string} label */
    isStopped: (label) => `${label} is stopped.`,
    byKey: 'Ctrl-Z does that.',
    byItself: 'It stopped itself, or was stopped by another program.',
    /** @param {string} label */
    waitsForTerminal: (label) => `${label} waits for its terminal.`,
    waitsForTerminalDetail: 'It uses the terminal from the background.',
    proceed: 'Continue',
    notReading: 'The program does not read its input.',
    notReadingDetail: 'What you typed or pasted now was not taken.',
    longLine: 'A terminal keeps at most 4,095 bytes of a line.',
    longLineDetail: 'A program that reads by lines does not get the rest of yours; on pipes it does.',
    usePipes: 'Use pipes from the next run',
    tooMuchOutput: 'Too much output to announce, navigate to rows manually to read',
  },

  problems: {
    error: 'Error',
    warning: 'Warning',
    info: 'Note',
    /** @param {number} count */
    errors: (count) => plural(count, { one: '1 error', other: `${number(count)} errors` }),
    /** @param {number} count */
    remarks: (count) => plural(count, { one: '1 remark', other: `${number(count)} remarks` }),
    /** @param {number} count */
    more: (count) => `and ${number(count)} more`,
  },

  artifacts: {
    title: 'What the program wrote',
    written: 'Written by the program',
    count: files,
    /** @param {string} path */
    wasMade: (path) => `A file was made: ${path}`,
    /** @param {string} path */
    show: (path) => `Show ${path}`,
    /** @param {string} path */
    save: (path) => `Save ${path}`,
    /** @param {string} size */
    saveHint: (size) => `Save (${size})`,
    previous: 'Previous',
    next: 'Next',
    open: 'Open in a tab of its own',
    saveShown: 'Save',
    /** @param {string} why */
    notShown: (why) => `It cannot be shown: ${why}`,
    /** @param {number} count */
    firstRows: (count) => plural(count, { one: 'The first row. Save it to have the rest.', other: `The first ${number(count)} rows. Save it to have the rest.` }),
    document: 'A document. It opens in a tab of its own.',
    nothing: 'It is neither a text nor a picture, so there is nothing to show here.',
    /** @param {string} encoding */
    text: (encoding) => `A text in ${encoding}, only to be read here: the editor opens UTF-8 of at most 2 MB, and 1 MB of what programs made.`,
    /** @param {string} encoding @param {string} size */
    textHead: (encoding, size) => `The first ${size} of a text in ${encoding}. The editor opens UTF-8 of at most 2 MB, and 1 MB of what programs made. Save it to have the rest.`,
    refused: 'A picture is not shown:',
    noPicture: 'it is not a PNG, JPEG or GIF picture.',
    manyPixels: 'it has too many pixels.',
    slow: 'it takes too long to draw.',
    broken: 'it is broken.',
    largePicture: 'it is too large.',
    noBase64: 'it is not base64.',
    brokenHeader: 'its header is broken.',
    brokenSize: 'its size is broken.',
    /** @param {string} path */
    tooLarge: (path) => `${path} is too large to be shown`,
    unknownAddress: 'its address is not known any more.',
    /** @param {string} host */
    openLink: (host) => `Open ${host}?`,
    /** @param {string} address */
    openLinkText: (address) => `A program made this link. It leads to: ${address}`,
    openLinkOk: 'Open',
  },

  shell: {
    title: 'Terminal',
    open: 'Terminal',
    hint: 'a shell in the same container',
    height: 'Height of the terminal',
    close: 'Close the terminal',
    empty: 'A terminal beside your program',
    emptyText: 'Look around in the container while the program runs.',
    start: 'Open a terminal',
    startRepl: 'Open a REPL',
    again: 'New terminal',
  },

  views: { files: 'Files', code: 'Code', program: 'Program', shell: 'Terminal' },

  status: {
    none: 'No session yet',
    /** @param {number | string} position */
    waiting: (position) => `Waiting: number ${position} in the queue`,
    /** @param {string} time */
    silent: (time) => `No answer for ${time}`,
    connecting: 'Connecting',
    connected: 'Connected',
    /** @param {string} time */
    connectedTime: (time) => `Connected · ${time}`,
    notConnected: 'Not connected',
    reconnecting: 'Reconnecting',
    /** @param {string} time */
    lasts: (time) => `session lasts ${time} more`,
  },

  waiting: {
    next: 'You are next',
    /** @param {number} position */
    place: (position) => `You are number ${position} in the queue`,
    /** @param {string} time */
    about: (time) => `About ${time}.`,
    /** @param {string} time */
    patience: (time) => `Your program starts by itself. The place is kept for ${time} more at most.`,
    leave: 'Leave the queue',
    noRoom: 'No room yet',
    unreachable: 'The server cannot be reached',
    again: 'Trying again …',
    /** @param {string} time */
    againIn: (time) => `Trying again in ${time} …`,
    stopTrying: 'Stop trying',
    starting: 'Starting',
    startingText: 'A container is being prepared.',
  },

  session: {
    elsewhere: 'This session is open in another page.',
    elsewhereDetail: 'The program runs on there.',
    useHere: 'Use it here',
    closed: 'The server closed the connection.',
    /** @param {number} code */
    code: (code) => `Code ${code}.`,
    tryAgain: 'Try again',
    lost: 'Connection lost. Reconnecting …',
    runsOn: 'Your program runs on.',
    tryNow: 'Try now',
    offline: 'Your device is offline.',
    keptTyping: 'What you type is kept, and sent when it does.',
    connectAgain: 'Connect again',
    watching: 'You are watching.',
    watchingDetail: 'Another page has the control of this session.',
    take: 'Take control',
    download: 'Download its files',
    /** @param {string} time */
    ends: (time) => `This session ends in ${time}.`,
    endsDetail: 'It has reached its greatest age. What you wrote stays in this page; what programs made goes with the session.',
    endsIdle: 'This session ends soon, because nothing happens in it.',
    keep: 'Keep it',
    filesHere: 'Your files are still here. Run again to begin a new session.',
    over: 'The session is over.',
    slow: 'The server took too long.',
    unreachable: 'The server cannot be reached.',
    /** @param {number} status */
    answered: (status) => `The server answered ${status}.`,
    endTitle: 'End the session?',
    endRunning: 'The program that runs is stopped.',
    endMade: 'What programs made goes with it; your own files stay.',
    endOk: 'End it',
    endProgramTitle: 'End what runs?',
    endOtherTitle: 'End the other session?',
    /** @param {string} name */
    otherRuns: (name) => `“${name}” has a session of its own, in which a program runs. It ends when this begins.`,
    /** @param {string} name */
    otherMade: (name) => `“${name}” has a session of its own with files that programs made. It ends when this begins.`,
  },

  /** Why a session is over, by the protocol's reason. @type {Record<string, string>} */
  over: {
    client: 'The session was closed.',
    idle_timeout: 'The session ended because nothing happened in it for a while.',
    lifetime: 'The session reached its greatest age and ended.',
    resume_timeout: 'The session ended because this page was away for too long.',
    evicted: 'The session was ended by this server or its operator.',
    engine_lost: 'The session ended because its container was lost.',
    no_session: 'The session is over.',
  },

  endings: {
    finished: 'Finished',
    /** @param {number} code */
    code: (code) => `Ended with exit code ${code}`,
    /** @param {number} code */
    exitCode: (code) => `exit code ${code}`,
    unseenSignal: 'Ended by a signal that nobody saw',
    /** @param {string} signal */
    signal: (signal) => `Ended by signal SIG${signal}`,
    /** @param {string} signal @param {string} why */
    signalWhy: (signal, why) => `Ended by signal SIG${signal} (${why})`,
    sharedMemory: 'the kernel does not tell which program of this session used the memory',
    /** @param {number} count */
    leftBehind: (count) => plural(count, { one: '1 process left behind was ended', other: `${number(count)} processes left behind were ended` }),
    /** @param {string} time */
    cpu: (time) => `CPU ${time}`,
    /** @param {string} size */
    memory: (size) => `memory ${size}`,
    /** By the protocol's reason. @type {Record<string, string>} */
    reasons: {
      compile_failed: 'Did not compile',
      oom: 'Ran out of memory',
      wall_timeout: 'Stopped: time limit reached',
      cpu_timeout: 'Stopped: CPU time limit reached',
      output_limit: 'Stopped: too much output',
      killed: 'Stopped',
      evicted: 'Stopped by this server or its operator',
      session_closed: 'Ended with its session',
      engine_lost: 'Lost: its container is gone, nobody saw how the program ended',
    },
    /** Limits that were hit. @type {Record<string, string>} */
    hit: {
      memory: 'memory limit hit: a process was killed for it',
      pids: 'process limit hit: a new process was refused',
      disk: 'disk limit hit: a write was refused',
    },
    /** @type {Record<string, string>} */
    signals: {
      ABRT: 'it aborted', ALRM: 'a timer of its own', BUS: 'bad memory access', FPE: 'arithmetic error, such as a division by zero',
      HUP: 'hang-up', ILL: 'illegal instruction', INT: 'interrupted', KILL: 'killed', PIPE: 'wrote to a closed pipe',
      QUIT: 'quit', SEGV: 'bad memory access', SYS: 'forbidden system call', TERM: 'asked to end', TRAP: 'breakpoint',
      XCPU: 'CPU time used up', XFSZ: 'file too large',
    },
  },

  unknownError: 'Something went wrong.',
  /** What happened and what to do, by the code of an `error` of the server. @type {Record<string, string>} */
  errors: {
    bad_json: 'This page and the server do not understand each other. Reload the page.',
    bad_frame: 'This page and the server do not understand each other. Reload the page.',
    bad_message: 'The server did not accept the request.',
    unknown_type: 'This page is newer than the server. Reload the page.',
    frame_too_large: 'The project is too large to send. Remove large files from it.',
    no_first_message: 'The connection was too slow. Try again.',
    not_control: 'Another page has the control. Take control first.',
    channel_limit: 'Too many programs run at once in this session. Stop one of them first.',
    channels_busy: 'Too much output of earlier programs waits to be shown. Wait a moment, then run again.',
    unsupported: 'This server does not offer that.',
    unknown_language: 'The server does not have this language. Choose another.',
    bad_path: 'A file has a name that cannot be used. Rename it.',
    file_too_large: 'A file is too large. Make it smaller or remove it.',
    no_file: 'A file is not there any more.',
    file_exists: 'There is a file of this name already.',
    workspace_full: 'The session has no room left for files. Delete some.',
    bad_archive: 'The archive cannot be unpacked.',
    files_busy: 'Too many files are on their way at once. Try again in a moment.',
    too_many_files: 'The project has too many files. Remove some.',
    member_taken: 'The group has a member of this name already. Choose another.',
    no_group: 'There is no such group any more.',
    group_full: 'The group is full.',
    too_many_groups: 'There are too many groups on this server. Try again later.',
    network_failed: 'The group’s network could not be made. Try again.',
    bad_limit: 'A limit that was asked for cannot be had.',
    unauthenticated: 'You are not signed in. Reload the page and sign in.',
    not_allowed: 'You may not do this here.',
    too_slow: 'The connection was too slow for what was sent. It is tried again.',
    rate_limited: 'Too many requests came from your address. It goes on by itself in a moment.',
    too_many_attachments: 'So many pages look at this session that it takes no more. It goes on when one is closed.',
    too_many_sessions: 'Too many sessions are open from your address or account. Close another page with a session.',
    queue_full: 'All places are taken, and so is the queue. Try again in a while.',
    queue_timeout: 'No place became free in time. Try again.',
    draining: 'The server is about to restart. Try again in a minute.',
    language_not_ready: 'This language is still being prepared. Try again in a minute.',
    language_failed: 'This language could not be prepared on the server. Tell the operator, and choose another.',
    engine_unavailable: 'The server cannot start containers right now. Try again in a minute.',
    engine_timeout: 'Starting took too long. Try again.',
    image_missing: 'This language is being prepared again. Try again in a minute.',
    start_failed: 'The container could not be started. Try again.',
    name_conflict: 'Starting the container met another of the same name. Try again.',
    container_gone: 'The container is gone. Run again to begin a new session.',
    agent_lost: 'The container does not answer any more. Run again to begin a new session.',
    files_failed: 'The files could not be written in the container. Its disk may be full.',
    internal: 'The server had a fault; it was logged. Try again.',
  },

  help: {
    title: 'Help',
    text: 'Write code on the left and press *Run*. The program runs on the server, in a container of its own, and is connected to the terminal on the right: type into it while it runs. If the connection drops or you reload the page, the program runs on, and the page comes back to it by itself.',
    keyboard: 'Keyboard',
    terminals: 'In the terminals',
    terminalsText: 'All keys go to the program. Ctrl C interrupts it, unless text is selected: then it copies. Ctrl V pastes. Ctrl D ends the input. F6 leaves the terminal.',
    keeping: 'Your projects are kept in this browser only; tabs of it see each other’s changes.',
    enter: 'Enter',
    shiftEsc: 'Shift Esc',
    shiftF6: 'Shift F6',
    shiftF8: 'Shift F8',
    escTab: 'Esc, then Tab',
    del: 'Del',
    run: 'Run the program (a running one is stopped first)',
    stop: 'Stop the program',
    shell: 'Go to the terminal, and back to the code',
    parts: 'Go to the next or previous part of the page',
    save: 'Keep the project now; it is kept by itself, too',
    problem: 'Go to the next or previous problem',
    help: 'This help',
    search: 'Search in the file',
    line: 'Go to a line',
    undo: 'Undo',
    leave: 'Leave the editor with the keyboard',
    file: 'Rename or delete the chosen file',
  },
};
