let length word =
  let count = ref 0 in
  String.iter (fun byte -> if Char.code byte land 0xC0 <> 0x80 then incr count) word;
  !count

let () =
  List.iter
    (fun word -> Printf.printf "%s %d\n" word (length word))
    [ "Grüße"; "Привет"; "こんにちは"; "🙂" ]
