// Things that programs need and that no session has. The server recognises them in the program's output and sends an
// English sentence, with a word of the output in place of {word}: here are its sentences (of hints.toml and
// language.toml), so that each can be shown in another language.

export const hints = {
  hints: {
    network: 'This session has no network: nothing outside of it (and of its group, where it has one) can be reached.',
    display: 'This session has no display, so no windows: write to the terminal, or a picture to a file.',
    root: 'This session has no root: what needs its rights cannot be done here.',
    recursion: 'A function called itself until the stack was full: it needs a case in which it does not call itself.',
    segv: 'The program used memory that is not its own: by a pointer that is null or not valid, by an index out of range, or because a function calls itself without end, until the stack is full.',
    oom: 'All of the memory was used, by data that grows or by a function that calls itself without end. Use less memory, or a session with more.',
    thrashed: 'Memory was too small: the time was spent on reading the same files again and again. Use less memory, or a session with more.',
    header: 'There is no such header in the workspace or in this image, and no library can be installed, as there is no network.',
    package: 'There is no package {word} in the workspace or in this image, and none can be installed, as there is no network.',
    assembly: 'What is not in this image (Mono\'s own libraries) cannot be installed, as there is no network.',
    goGet: '`go get` cannot download here: this session has no network. Go\'s own library, the workspace\'s packages, and the modules that `cat /usr/share/gocode/src/replace` lists in the shell can be imported.',
    cgo: 'This image has no C compiler, so no cgo: leave `import "C"` out.',
    haskell: 'The module {word} is not in this image, and none can be installed, as there is no network; `ghc-pkg list` in the shell names what there is.',
    jar: 'The package {word} is not there: put its jar into the folder lib/ of the workspace; nothing can be downloaded.',
    luaModule: 'The module {word} is not in the workspace or in this image, and none can be installed, as there is no network.',
    perlModule: 'The module {word} is not in this image, and none can be installed, as there is no network.',
    film: 'There is no program here that writes a film (ffmpeg): save an animation as .gif or .webp, which Pillow writes, or `show` it.',
    tkinter: 'tkinter (and turtle) needs a window, and a session has none: write to the terminal, or draw a picture to a file.',
    pythonModule: 'There is no module {word} in the workspace or in this image, and none can be installed, as there is no network; `pip list` in the shell names what there is.',
    rPackage: 'The package {word} is not in this image, and none can be installed, as there is no network; `rownames(installed.packages())` names what there is.',
    gem: 'There is no {word} in the workspace or in this image, and no gem can be installed, as there is no network; `gem list` in the shell names what there is.',
    crate: 'The crate {word} cannot be downloaded (there is no network, whatever Cargo advises); `ls /usr/share/cargo/registry` in the shell names those that are there, for a Cargo.toml.',
    tclPackage: 'The package {word} is not in this image, and none can be installed, as there is no network.',
  },
};
