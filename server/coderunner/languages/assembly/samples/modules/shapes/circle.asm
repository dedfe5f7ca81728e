; circle_area(radius in xmm0) in xmm0
        global  circle_area

        section .text
circle_area:
        mulsd   xmm0, xmm0
        mulsd   xmm0, [pi]
        ret

        section .rodata
pi:     dq      3.141592653589793
