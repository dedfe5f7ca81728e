console.log "never"
if true
console.log (
