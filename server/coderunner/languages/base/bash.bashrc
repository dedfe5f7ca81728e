# For interactive shells. The prompt needs neither user nor host: they are the same for everybody.
[ -z "$PS1" ] && return
shopt -s checkwinsize
PS1='\[\e[1;32m\]\w\[\e[0m\]\$ '
alias ls='ls --color=auto' grep='grep --color=auto'
