        global  main

        section .text
main:   xor     edx, edx
        mov     eax, 1
        xor     ecx, ecx
        div     ecx                     ; by zero
        ret
