console.log "before"
console.log undefined.name
console.log "never"
