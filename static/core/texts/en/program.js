// Programs: messages while they run, their files, their end.
import { files, number, plural } from './counts.js';

export const program = {
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
    holdsOutputDetail: 'Ctrl-S pauses output, Ctrl-Q continues it.',
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
    text: (encoding) => `A read-only text in ${encoding}: the editor opens UTF-8 of at most 2 MB, and 1 MB of files that programs made.`,
    /** @param {string} encoding @param {string} size */
    textHead: (encoding, size) => `The first ${size} of a text in ${encoding}. The editor opens UTF-8 of at most 2 MB, and 1 MB of files that programs made. Save it to have the rest.`,
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

  endings: {
    finished: 'Finished',
    /** @param {number} code */
    code: (code) => `Ended with exit code ${code}`,
    /** @param {number} code */
    exitCode: (code) => `exit code ${code}`,
    unseenSignal: 'Ended by an unknown signal',
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
      engine_lost: 'Lost: its container is gone; how the program ended is unknown',
    },
    /** Limits that were hit. @type {Record<string, string>} */
    hit: {
      memory: 'memory limit hit: a process was killed for it, or most of the time went into reading files again, as memory was too small',
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
};
