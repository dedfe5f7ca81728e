:- use_module(shapes/circle).
:- initialization(main, main).

main :-
    area(2, Area),
    format("~3f~n", [Area]).
