        global  main
        extern  printf, circle_area

        section .text
main:   sub     rsp, 8
        movsd   xmm0, [radius]
        call    circle_area
        mov     edi, format
        mov     eax, 1                  ; one argument in a vector register
        call    printf
        xor     eax, eax
        add     rsp, 8
        ret

        section .rodata
radius: dq      2.0
format: db      "%.3f", 10, 0
