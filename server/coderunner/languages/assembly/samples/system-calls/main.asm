; Without a library: what a program asks of the kernel.
        global  main

        section .text
main:   mov     eax, 1                  ; write(1, message, length)
        mov     edi, 1
        mov     rsi, message
        mov     edx, length
        syscall
        mov     eax, 60                 ; exit(0)
        xor     edi, edi
        syscall

        section .rodata
message: db     "Hello, kernel!", 10
length  equ     $ - message
