        global  main
        extern  puts

        section .text
main:   sub     rsp, 8
        mov     edi, message
        call    puts
        mov     eax, 7
        add     rsp, 8
        ret

        section .rodata
message: db     "leaving with 7", 0
