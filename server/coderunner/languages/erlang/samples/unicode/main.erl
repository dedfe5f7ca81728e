-module(main).
-export([main/1]).

main(_) ->
    Words = ["Grüße", "Привет", "こんにちは", "🙂"],
    [io:format("~ts ~b~n", [Word, string:length(Word)]) || Word <- Words].
