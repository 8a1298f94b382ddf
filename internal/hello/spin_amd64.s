#include "textflag.h"

// func spin(loops uint64)
// The same two instructions, equally aligned, as the loop in guest/work.s.
TEXT ·spin(SB), NOSPLIT, $0-8
	MOVQ loops+0(FP), CX
	TESTQ CX, CX
	JZ done
	PCALIGN $32
loop:
	DECQ CX
	JNZ loop
done:
	RET
