program unicode
  print "(a)", "Grüße"
  print "(a)", "Привет"
  print "(a)", "こんにちは"
  print "(a)", "🙂"
end program
