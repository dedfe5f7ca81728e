// Made from server/coderunner/schema by scripts/schema.sh; do not edit.
// What each message of the server must have, as codec.js reads it, and the types of all messages.

export const PROTOCOL = 'coderunner.v1';

// A program can be sent these, by a `signal`.
export const SIGNALS = ['INT', 'TERM', 'QUIT', 'HUP', 'KILL', 'TSTP', 'CONT', 'USR1', 'USR2'];

export const SERVER = {
  hello: {
    protocol: 'text',
    server: 'text',
    environment: 'text',
    limits: ['map', 'text', 'natural'],
    features: ['list', 'text'],
    keepalive_s: 'natural',
    'quotas?': ['list', { kind: 'text', of: 'natural', remaining: 'natural', seconds: 'natural', reset_s: 'natural' }],
  },
  queued: { position: 'natural', ahead: 'natural', eta_ms: ['null', 'natural'], deadline_ms: 'natural' },
  opened: {
    session: 'text',
    token: 'text',
    language: 'text',
    warm: 'truth',
    expires: { idle_ms: ['null', 'natural'], total_ms: 'natural' },
    isolation: { runtime: 'text', network: 'text' },
    timings_ms: ['map', 'text', 'number'],
    'group?': 'text',
    'group_token?': 'text',
    'member?': 'text',
  },
  attached: {
    session: 'text',
    role: ['one', 'control', 'watch'],
    channels: ['list', { channel: ['whole', 0, 65535], mode: ['one', 'tty', 'pipe'], phase: ['one', 'compiling', 'running', 'exited'], from: 'natural', to: 'natural', input_offset: 'natural', input_eof: 'truth', cols: ['null', ['whole', 2, 1000]], rows: ['null', ['whole', 2, 1000]] }],
    expires: { idle_ms: ['null', 'natural'], total_ms: 'natural' },
  },
  role: { role: ['one', 'control', 'watch'], input_offsets: ['map', ['whole', 0, 65535], 'natural'] },
  people: {
    people: ['list', { who: 'text', name: 'text', role: ['one', 'control', 'watch'], owner: 'truth', asks: 'truth' }],
  },
  state: { channel: ['whole', 0, 65535], phase: ['one', 'compiling', 'running', 'exited'], offset: 'natural' },
  stopped: { channel: ['whole', 0, 65535], by: ['null', ['one', 'STOP', 'TSTP', 'TTIN', 'TTOU', 'output']] },
  in_ack: { channel: ['whole', 0, 65535], offset: 'natural' },
  gap: { channel: ['whole', 0, 65535], from: 'natural', to: 'natural', 'restore?': 'text' },
  resized: { channel: ['whole', 0, 65535], cols: ['whole', 2, 1000], rows: ['whole', 2, 1000] },
  diagnostics: {
    channel: ['whole', 0, 65535],
    items: ['list', { path: 'text', line: 'natural', column: 'natural', severity: ['one', 'error', 'warning', 'info'], message: 'text' }],
  },
  artifact: { channel: ['whole', 0, 65535], path: 'text', mime: 'text', size: 'natural', url: 'text' },
  workspace: { revision: 'natural' },
  exit: {
    channel: ['whole', 0, 65535],
    code: ['null', ['whole', 0, 255]],
    signal: ['null', 'text'],
    reason: ['one', 'exited', 'signaled', 'compile_failed', 'oom', 'wall_timeout', 'cpu_timeout', 'output_limit', 'killed', 'evicted', 'session_closed', 'engine_lost'],
    limits_hit: ['list', ['one', 'memory', 'pids', 'disk']],
    left_behind: 'natural',
    usage: { wall_ms: ['null', 'natural'], cpu_ms: ['null', 'natural'], memory_peak_bytes: ['null', 'natural'], output_bytes: ['null', 'natural'] },
    offset: 'natural',
    'shared?': 'truth',
    'hints?': ['list', 'text'],
    'compile_usage?': { wall_ms: ['null', 'natural'], cpu_ms: ['null', 'natural'], memory_peak_bytes: ['null', 'natural'], output_bytes: ['null', 'natural'] },
  },
  expires: { idle_ms: ['null', 'natural'], total_ms: 'natural' },
  notice: { code: 'text', message: 'text' },
  hand: { up: 'truth' },
  closed: { reason: ['one', 'client', 'idle_timeout', 'lifetime', 'resume_timeout', 'evicted', 'engine_lost'] },
  error: {
    code: 'text',
    message: 'text',
    retryable: 'truth',
    'channel?': ['whole', 0, 65535],
    'retry_after_ms?': 'natural',
    'expected?': 'natural',
  },
  pong: { t: 'number' },
  quotas: {
    quotas: ['list', { kind: 'text', of: 'natural', remaining: 'natural', seconds: 'natural', reset_s: 'natural' }],
  },
};

/**
 * @typedef {object} ChannelView
 * @property {number} channel
 * @property {'tty'|'pipe'} mode
 * @property {'compiling'|'running'|'exited'} phase
 * @property {number} from
 * @property {number} to
 * @property {number} input_offset
 * @property {boolean} input_eof
 * @property {number|null} cols
 * @property {number|null} rows
 */
/**
 * @typedef {object} Diagnostic
 * @property {string} path
 * @property {number} line
 * @property {number} column
 * @property {'error'|'warning'|'info'} severity
 * @property {string} message
 */
/**
 * @typedef {object} Expiry
 * @property {number|null} idle_ms
 * @property {number} total_ms
 */
/**
 * @typedef {object} File
 * @property {string} path
 * @property {string} [content]
 * @property {string} [content_base64]
 */
/**
 * @typedef {object} Isolation
 * @property {string} runtime
 * @property {string} network
 */
/**
 * @typedef {object} Person
 * @property {string} who
 * @property {string} name
 * @property {'control'|'watch'} role
 * @property {boolean} owner
 * @property {boolean} asks
 */
/**
 * @typedef {object} QuotaLeft
 * @property {string} kind
 * @property {number} of
 * @property {number} remaining
 * @property {number} seconds
 * @property {number} reset_s
 */
/**
 * @typedef {object} Usage
 * @property {number|null} wall_ms
 * @property {number|null} cpu_ms
 * @property {number|null} memory_peak_bytes
 * @property {number|null} output_bytes
 */
/**
 * @typedef {object} Open
 * @property {'open'} type
 * @property {string} language
 * @property {string} client
 * @property {string} [nonce]
 * @property {File[]} [files]
 * @property {Object<string, number>} [limits]
 * @property {'none'|'group'} [network]
 * @property {string} [group]
 * @property {string} [group_token]
 * @property {string} [member]
 * @property {boolean} [record]
 * @property {string} [room]
 */
/**
 * @typedef {object} Attach
 * @property {'attach'} type
 * @property {string} session
 * @property {string|null} token
 * @property {string} client
 * @property {'control'|'watch'} [role]
 * @property {Object<string, number>} [cursors]
 */
/**
 * @typedef {object} Take
 * @property {'take'} type
 * @property {string} [word]
 */
/**
 * @typedef {object} Give
 * @property {'give'} type
 */
/**
 * @typedef {object} Run
 * @property {'run'} type
 * @property {number} channel
 * @property {'tty'|'pipe'} mode
 * @property {File[]} [files]
 * @property {string} [entry]
 * @property {string[]} [args]
 * @property {Object<string, string>} [env]
 * @property {number} [cols]
 * @property {number} [rows]
 * @property {Object<string, number>} [limits]
 * @property {string} [stdin]
 */
/**
 * @typedef {object} Shell
 * @property {'shell'} type
 * @property {number} channel
 * @property {number} cols
 * @property {number} rows
 * @property {boolean} [repl]
 * @property {string} [entry]
 */
/**
 * @typedef {object} Resize
 * @property {'resize'} type
 * @property {number} channel
 * @property {number} cols
 * @property {number} rows
 */
/**
 * @typedef {object} Signal
 * @property {'signal'} type
 * @property {number} channel
 * @property {'INT'|'TERM'|'QUIT'|'HUP'|'KILL'|'TSTP'|'CONT'|'USR1'|'USR2'} name
 */
/**
 * @typedef {object} Eof
 * @property {'eof'} type
 * @property {number} channel
 * @property {number} offset
 */
/**
 * @typedef {object} Kill
 * @property {'kill'} type
 * @property {number} channel
 */
/**
 * @typedef {object} Ack
 * @property {'ack'} type
 * @property {number} channel
 * @property {number} offset
 * @property {boolean} [exit]
 */
/**
 * @typedef {object} Extend
 * @property {'extend'} type
 */
/**
 * @typedef {object} Answer
 * @property {'answer'} type
 * @property {string} who
 * @property {boolean} allow
 */
/**
 * @typedef {object} RaiseHand
 * @property {'raise_hand'} type
 * @property {boolean} up
 */
/**
 * @typedef {object} Close
 * @property {'close'} type
 */
/**
 * @typedef {object} Ping
 * @property {'ping'} type
 * @property {number} t
 */
/**
 * @typedef {object} Hello
 * @property {'hello'} type
 * @property {string} protocol
 * @property {string} server
 * @property {string} environment
 * @property {Object<string, number>} limits
 * @property {string[]} features
 * @property {number} keepalive_s
 * @property {QuotaLeft[]} [quotas]
 */
/**
 * @typedef {object} Queued
 * @property {'queued'} type
 * @property {number} position
 * @property {number} ahead
 * @property {number|null} eta_ms
 * @property {number} deadline_ms
 */
/**
 * @typedef {object} Opened
 * @property {'opened'} type
 * @property {string} session
 * @property {string} token
 * @property {string} language
 * @property {boolean} warm
 * @property {Expiry} expires
 * @property {Isolation} isolation
 * @property {Object<string, number>} timings_ms
 * @property {string} [group]
 * @property {string} [group_token]
 * @property {string} [member]
 */
/**
 * @typedef {object} Attached
 * @property {'attached'} type
 * @property {string} session
 * @property {'control'|'watch'} role
 * @property {ChannelView[]} channels
 * @property {Expiry} expires
 */
/**
 * @typedef {object} Role
 * @property {'role'} type
 * @property {'control'|'watch'} role
 * @property {Object<string, number>} input_offsets
 */
/**
 * @typedef {object} People
 * @property {'people'} type
 * @property {Person[]} people
 */
/**
 * @typedef {object} State
 * @property {'state'} type
 * @property {number} channel
 * @property {'compiling'|'running'|'exited'} phase
 * @property {number} offset
 */
/**
 * @typedef {object} Stopped
 * @property {'stopped'} type
 * @property {number} channel
 * @property {'STOP'|'TSTP'|'TTIN'|'TTOU'|'output'|null} by
 */
/**
 * @typedef {object} InAck
 * @property {'in_ack'} type
 * @property {number} channel
 * @property {number} offset
 */
/**
 * @typedef {object} Gap
 * @property {'gap'} type
 * @property {number} channel
 * @property {number} from
 * @property {number} to
 * @property {string} [restore]
 */
/**
 * @typedef {object} Resized
 * @property {'resized'} type
 * @property {number} channel
 * @property {number} cols
 * @property {number} rows
 */
/**
 * @typedef {object} Diagnostics
 * @property {'diagnostics'} type
 * @property {number} channel
 * @property {Diagnostic[]} items
 */
/**
 * @typedef {object} Artifact
 * @property {'artifact'} type
 * @property {number} channel
 * @property {string} path
 * @property {string} mime
 * @property {number} size
 * @property {string} url
 */
/**
 * @typedef {object} Workspace
 * @property {'workspace'} type
 * @property {number} revision
 */
/**
 * @typedef {object} Exit
 * @property {'exit'} type
 * @property {number} channel
 * @property {number|null} code
 * @property {string|null} signal
 * @property {'exited'|'signaled'|'compile_failed'|'oom'|'wall_timeout'|'cpu_timeout'|'output_limit'|'killed'|'evicted'|'session_closed'|'engine_lost'} reason
 * @property {('memory'|'pids'|'disk')[]} limits_hit
 * @property {number} left_behind
 * @property {Usage} usage
 * @property {number} offset
 * @property {boolean} [shared]
 * @property {string[]} [hints]
 * @property {Usage} [compile_usage]
 */
/**
 * @typedef {object} Expires
 * @property {'expires'} type
 * @property {number|null} idle_ms
 * @property {number} total_ms
 */
/**
 * @typedef {object} Notice
 * @property {'notice'} type
 * @property {string} code
 * @property {string} message
 */
/**
 * @typedef {object} Hand
 * @property {'hand'} type
 * @property {boolean} up
 */
/**
 * @typedef {object} Closed
 * @property {'closed'} type
 * @property {'client'|'idle_timeout'|'lifetime'|'resume_timeout'|'evicted'|'engine_lost'} reason
 */
/**
 * @typedef {object} ErrorMessage
 * @property {'error'} type
 * @property {string} code
 * @property {string} message
 * @property {boolean} retryable
 * @property {number} [channel]
 * @property {number} [retry_after_ms]
 * @property {number} [expected]
 */
/**
 * @typedef {object} Pong
 * @property {'pong'} type
 * @property {number} t
 */
/**
 * @typedef {object} Quotas
 * @property {'quotas'} type
 * @property {QuotaLeft[]} quotas
 */
/** @typedef {Open|Attach|Take|Give|Run|Shell|Resize|Signal|Eof|Kill|Ack|Extend|Answer|RaiseHand|Close|Ping} ClientMessage */

/** @typedef {Hello|Queued|Opened|Attached|Role|People|State|Stopped|InAck|Gap|Resized|Diagnostics|Artifact|Workspace|Exit|Expires|Notice|Hand|Closed|ErrorMessage|Pong|Quotas} ServerMessage */
