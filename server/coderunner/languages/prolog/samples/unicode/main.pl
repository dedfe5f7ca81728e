:- initialization(main, main).

main :-
    forall(member(Word, ["Grüße", "Привет", "こんにちは", "🙂"]),
           ( string_length(Word, Length),
             format("~s ~d~n", [Word, Length]) )).
