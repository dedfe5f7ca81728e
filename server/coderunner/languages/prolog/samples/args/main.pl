:- initialization(main, main).

main(Arguments) :-
    forall(nth1(Number, Arguments, Argument),
           format("~w ~w~n", [Number, Argument])).
