:- initialization(main, main).

main :-
    writeln("before"),
    _ is 1 / 0,
    writeln("never").
