readline = require "readline"

asking = readline.createInterface input: process.stdin, output: process.stdout
asking.question "What is your name? ", (name) ->
  console.log "Hello, #{name}!"
  asking.close()
