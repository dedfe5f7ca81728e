        global  main

        section .text
main:   move    eax, 1
        ret
