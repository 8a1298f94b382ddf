#include "textflag.h"

#define SYS_nanosleep 35
#define SYS_clone 56
#define SYS_exit_group 231
#define SYS_prctl 157
#define PR_SET_PDEATHSIG 1
#define SIGKILL 9

DATA minute<>+0(SB)/8, $60
DATA minute<>+8(SB)/8, $0
GLOBL minute<>(SB), RODATA, $16

// func cloneIdle(flags uintptr) (pid, errno uintptr)
TEXT ·cloneIdle(SB), NOSPLIT, $0-24
	MOVQ flags+0(FP), DI
	XORQ SI, SI // the stack goes on to be the caller's: the child does not use it
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	MOVQ $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JZ child
	CMPQ AX, $0xfffffffffffff001
	JCC failed
	MOVQ AX, pid+8(FP)
	MOVQ $0, errno+16(FP)
	RET
failed:
	NEGQ AX
	MOVQ $0, pid+8(FP)
	MOVQ AX, errno+16(FP)
	RET
child:
	MOVQ $PR_SET_PDEATHSIG, DI
	MOVQ $SIGKILL, SI
	MOVQ $SYS_prctl, AX
	SYSCALL
	MOVQ $minute<>(SB), DI
	XORQ SI, SI
	MOVQ $SYS_nanosleep, AX
	SYSCALL
	XORQ DI, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT $3
