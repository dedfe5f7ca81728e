:- initialization(main, main).

main :-
    write("What is your name? "),
    flush_output,
    read_line_to_string(user_input, Name),
    format("Hello, ~s!~n", [Name]).
