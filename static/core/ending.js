// How a program ended, in words. The phrases are stable: people learn them, and tests read them.

const SIGNALS = {
  ABRT: 'it aborted', ALRM: 'a timer of its own', BUS: 'bad memory access', FPE: 'arithmetic error, such as a division by zero',
  HUP: 'hang-up', ILL: 'illegal instruction', INT: 'interrupted', KILL: 'killed', PIPE: 'wrote to a closed pipe',
  QUIT: 'quit', SEGV: 'bad memory access', SYS: 'forbidden system call', TERM: 'asked to end', TRAP: 'breakpoint',
  XCPU: 'CPU time used up', XFSZ: 'file too large',
};

const OURS = {
  compile_failed: 'Did not compile',
  oom: 'Ran out of memory',
  wall_timeout: 'Stopped: time limit reached',
  cpu_timeout: 'Stopped: CPU time limit reached',
  output_limit: 'Stopped: too much output',
  killed: 'Stopped',
  evicted: 'Stopped by this server or its operator',
  session_closed: 'Ended with its session',
  engine_lost: 'Lost: its container is gone, nobody saw how the program ended',
};

const HIT = {
  memory: 'memory limit hit: a process was killed for it',
  pids: 'process limit hit: a new process was refused',
  disk: 'disk limit hit: a write was refused',
};

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}

/** Like duration, for what passes while one reads it: whole seconds. */
export const seconds = (ms) => duration(Math.round(ms / 1000) * 1000).replace(/\.0+ s$/, ' s').replace(/^0 ms$/, '0 s');

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KB', 'MB', 'GB'];
  let value = bytes / 1024;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function title({ reason, code, signal }) {
  if (reason === 'exited') return code === 0 ? 'Finished' : `Ended with exit code ${code}`;
  if (reason === 'signaled') {
    if (signal === null) return 'Ended by a signal that nobody saw';
    return `Ended by signal SIG${signal}${SIGNALS[signal] ? ` (${SIGNALS[signal]})` : ''}`;
  }
  return OURS[reason];
}

/**
 * @param exit the `exit` message
 * @returns {{tone: 'good'|'bad'|'plain', title: string, details: string[]}}
 */
export function ending(exit) {
  const { reason, code, usage } = exit;
  const details = [...(exit.hints ?? [])];
  if (reason === 'exited' && code === 0) details.push('exit code 0');
  if (exit.shared) details.push('the kernel does not tell which program of this session used the memory');
  for (const limit of exit.limits_hit) if (!(reason === 'oom' && limit === 'memory')) details.push(HIT[limit]);
  if (exit.left_behind === 1) details.push('1 process left behind was ended');
  if (exit.left_behind > 1) details.push(`${exit.left_behind} processes left behind were ended`);
  if (usage.wall_ms !== null) details.push(duration(usage.wall_ms));
  if (usage.cpu_ms !== null) details.push(`CPU ${duration(usage.cpu_ms)}`);
  if (usage.memory_peak_bytes !== null) details.push(`memory ${size(usage.memory_peak_bytes)}`);
  const good = reason === 'exited' && code === 0;
  return { tone: good ? 'good' : reason === 'killed' || reason === 'session_closed' ? 'plain' : 'bad', title: title(exit), details };
}

const OVER = {
  client: 'The session was closed.',
  idle_timeout: 'The session ended because nothing happened in it for a while.',
  lifetime: 'The session reached its greatest age and ended.',
  resume_timeout: 'The session ended because this page was away for too long.',
  evicted: 'The session was ended by this server or its operator.',
  engine_lost: 'The session ended because its container was lost.',
  no_session: 'The session is over.',
};

/** Why a session is over. Files are in the page: the next run begins a new session with them. */
export const sessionOver = (reason) => OVER[reason] ?? 'The session is over.';
