process.argv[2..].forEach (argument, index) ->
  console.log "#{index + 1} #{argument}"
