// Sessions: the connection, the queue, their end, and refusals of the server.

export const session = {
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
    /** @param {string} quotas */
    left: (quotas) => `left: ${quotas}`,
  },

  identity: {
    required: 'This server needs you to sign in.',
    requiredDetail: 'You can write code; to run it, the server has to know who you are.',
    /** @param {string} name */
    mayNot: (name) => `You are signed in as ${name}, who may not run programs here.`,
    signIn: 'Sign in',
    signInMenu: 'Sign in …',
    useKey: 'Use a key',
    keyTitle: 'Sign in with a key',
    keyText: 'The operator of this server gives out keys. Yours is kept in this tab only, until it is closed.',
    key: 'Key',
    keyWrong: 'A key has letters, digits and signs, without spaces.',
    keyUnknown: 'This server does not know that key.',
    /** @param {string} name */
    signOut: (name) => `Sign out (${name})`,
    signedOut: 'You are signed out.',
    notSignedOut: 'The server did not take the sign-out. You are still signed in.',
    failed: 'The sign-in did not succeed.',
    failedOf: {
      unauthenticated: 'It took too long, or this browser keeps no cookies of this site. Begin again; a link of a course has to open a window of its own.',
      not_allowed: 'It was refused where you sign in, or this server does not take who you are there.',
    },
  },

  room: {
    label: 'Room of new sessions',
    walls: 'Rooms that you teach',
    /** @param {string} room */
    wall: (room) => `Wall of the room ${room}`,
    none: 'No room',
    /** @param {string} room */
    name: (room) => `Room ${room}`,
    raiseHand: 'Raise your hand to your teachers',
    lowerHand: 'Lower your hand',
    handRaised: 'Your hand is raised.',
    handLowered: 'Your hand is lowered.',
    choose: 'You belong to several rooms.',
    chooseDetail: 'Sessions that you open belong to none of them until you choose one in the menu at the top. The teachers of a room may watch its sessions.',
    /** @param {string} room */
    consent: (room) => `The sessions that you open here belong to the room ${room}.`,
    watch: 'Its teachers may watch what your programs print, by themselves or on a wall with those of the others, take over with a word to you, and collect your files. You are told at once, and can take the control back. The server keeps no copy.',
    /** @param {number} days */
    kept: (days) => `The server keeps who opened, ran, watched and took over, and from where, for ${days} days, with a hash of your program.`,
    keptForEver: 'The server keeps who opened, ran, watched and took over, and from where, for ever, with a hash of your program.',
    programs: 'It keeps the text of your program, too.',
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
    /** @param {string} name */
    asks: (name) => `${name} asks for the control of this session.`,
    allow: 'Allow',
    decline: 'Keep it',
    /** @param {string} names */
    guests: (names) => `Guests in this session: ${names}.`,
    download: 'Download its files',
    /** @param {string} time */
    ends: (time) => `This session ends in ${time}.`,
    endsDetail: 'It has reached its maximum age. Your files stay in this page; files that programs made are deleted.',
    endsIdle: 'This session ends soon, because nothing happens in it.',
    keep: 'Keep it',
    filesHere: 'Your files are still here. Run again to begin a new session.',
    over: 'The session is over.',
    slow: 'The server took too long.',
    unreachable: 'The server cannot be reached.',
    /** @param {number} status */
    answered: (status) => `The server answered ${status}.`,
    endTitle: 'End the session?',
    endRunning: 'The running program is stopped.',
    endMade: 'Files that programs made are deleted; your own files stay.',
    endOk: 'End it',
    endProgramTitle: 'End the running program?',
    endOtherTitle: 'End the other session?',
    /** @param {string} name */
    otherRuns: (name) => `“${name}” has a session of its own, in which a program runs. It ends when this begins.`,
    /** @param {string} name */
    otherMade: (name) => `“${name}” has a session of its own with files that programs made. It ends when this begins.`,
  },

  /** Why a session has ended, by the protocol's reason. @type {Record<string, string>} */
  over: {
    client: 'The session was closed.',
    idle_timeout: 'The session ended because nothing happened in it for a while.',
    lifetime: 'The session reached its maximum age and ended.',
    resume_timeout: 'The session ended because this page was away for too long.',
    evicted: 'The session was ended by this server or its operator.',
    engine_lost: 'The session ended because its container was lost.',
    no_session: 'The session is over.',
  },

  unknownError: 'Something went wrong.',
  unknownNotice: 'The server says:',
  /** The server's own sentence, after the text for its code; it is English. A translation may say so, or leave it out. @param {string} sentence @param {string} code */
  inEnglish: (sentence, code) => `${sentence} (${code})`,
  /** Texts of `notice` messages, by their codes. @type {Record<string, string>} */
  notices: {
    artifact_limit: 'The program makes more files than are shown here; all are in the workspace.',
    evicted: 'The server ends this session.',
    operator: 'The operator of this server says:',
    teacher: 'Your teacher says:',
    handed_out: 'A teacher has put files into this folder of the session:',
    collected: 'A teacher has collected the files of this session.',
    watched: 'This session is watched: what its programs print is seen.',
    unwatched: 'Nobody watches any longer.',
    taken_over: 'A teacher has the control. You can take it back at any time.',
    handed_back: 'You have the control again.',
    take_asked: 'The owner of the session was asked for the control.',
    quota_exceeded: 'Your quota is used up: programs that run are ended.',
  },
  /** What is left of a quota, by its kind. @type {Record<string, (left: number) => string>} */
  quotas: {
    runs: (left) => `${left} programs this minute`,
    cpu: (left) => `${Math.floor(left / 60)} min of processor time today`,
    output: (left) => `${Math.floor(left / 1_000_000)} MB of output today`,
  },
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
    bad_limit: 'A requested limit is not allowed.',
    unauthenticated: 'You are not signed in. Sign in, and try again.',
    identity_unavailable: 'Who you are cannot be checked right now. Try again in a minute.',
    not_allowed: 'You may not do this here.',
    too_slow: 'The connection was too slow for what was sent. It is tried again.',
    rate_limited: 'Too many requests came from your address. It goes on by itself in a moment.',
    too_many_attachments: 'Too many pages watch this session. This one connects when another is closed.',
    quota_exceeded: 'Your quota is used up. It comes back by itself.',
    database_unavailable: 'The server cannot look up what this needs right now. Try again in a minute.',
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
    name_conflict: 'There was another container of the same name. Try again.',
    container_gone: 'The container is gone. Run again to begin a new session.',
    agent_lost: 'The container does not answer any more. Run again to begin a new session.',
    files_failed: 'The files could not be written in the container. Its disk may be full.',
    internal: 'The server had a fault; it was logged. Try again.',
  },
};
