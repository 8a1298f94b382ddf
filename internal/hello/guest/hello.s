# The hello guest: a bare-metal x86_64 program that Firecracker boots as a kernel.
#
# It prints what it sees on the serial console, obeys the words below on its kernel command line and ignores all others.
# Without any of them it says hello and resets the machine.
#
#   hello.exit       reset after the greeting; also ends what would otherwise stay
#   hello.stay       idle until Ctrl+Alt+Del
#   hello.count[=MS] print "count N" each MS milliseconds (default 100) until Ctrl+Alt+Del
#   hello.echo       print each line of console input again, until Ctrl+Alt+Del or a line "exit"
#   hello.mark       print nothing but the byte 0x06, first thing, then stay
#   hello.touch=MIB  write to each page of MIB mebibytes, print "touched N MiB", stay
#   hello.spin=N     print "spin start", loop N times over two instructions, print "spin end"
#   hello.crash      triple fault
#   hello.hang       spin with interrupts off: deaf to Ctrl+Alt+Del
#   hello.flood      print lines as fast as the console takes them, until Ctrl+Alt+Del
#
# Words combine. What is asked for happens in this order: mark, greeting, touch, spin, crash, hang, flood, and then either
# the reset or the idle loop, which counts and echoes.
#
# Firecracker enters at `start` by the Linux 64-bit boot protocol: long mode, first GiB mapped one to one with 2 MiB pages, flat
# segments (code 0x08) in a GDT at 0x500, interrupts off, a stack below 0x9000 and the address of boot_params in rsi. Only the
# first vCPU runs; the others wait for a start-up interrupt that never comes.

	.intel_syntax noprefix
	.code64

	.set EXIT, 0
	.set STAY, 1
	.set COUNT, 2
	.set ECHO, 3
	.set MARK, 4
	.set TOUCH, 5
	.set SPIN, 6
	.set CRASH, 7
	.set HANG, 8
	.set FLOOD, 9
	.set STAYS, 1<<STAY | 1<<COUNT | 1<<ECHO | 1<<MARK | 1<<TOUCH

# The ELF header and its only program header: everything, readable, writable and executable.
	.text
image:
	.byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0 # 64 bit, little endian
	.quad 0
	.short 2, 62 # ET_EXEC, EM_X86_64
	.long 1
	.quad start
	.quad 64, 0 # program headers, no section headers
	.long 0
	.short 64, 56, 1, 0, 0, 0
	.long 1, 7 # PT_LOAD
	.quad 0, image, image
	.quad image_end - image, image_end - image, 4096

start:
	cld
	mov r15, rsi # boot_params, for good
	call parse_args
	bt dword ptr [flags], MARK
	jnc 1f
	mov al, 0x06
	call put_char
	jmp 2f
1:	call greet
2:	bt dword ptr [flags], TOUCH
	jnc 1f
	call touch
1:	bt dword ptr [flags], SPIN
	jnc 1f
	call spin
1:	bt dword ptr [flags], CRASH
	jc crash
	bt dword ptr [flags], HANG
	jc hang
	bt dword ptr [flags], FLOOD
	jc flood
	bt dword ptr [flags], EXIT
	jc leave
	test dword ptr [flags], STAYS
	jz leave

# Everything that waits does so here. Interrupts only end the HLT; what they meant is asked of the devices, with interrupts off
# until the HLT itself, so that none is lost in between.
stay:
	call open_interrupts
1:	cli
	call poll_keyboard
	call poll_tick
	call poll_console
	sti
	hlt
	jmp 1b

# leave says goodbye and resets the machine, which ends Firecracker.
leave:
	bt dword ptr [flags], MARK
	jc reset
	mov esi, offset goodbye_text
	call put_text
reset:
	mov al, 0xfe # the keyboard controller's reset line
	out 0x64, al
1:	cli
	hlt
	jmp 1b

	.include "work.s"
	.include "args.s"
	.include "console.s"
	.include "machine.s"

	.data
flags:	.long 0 # bit EXIT and so on: the words seen
goodbye_text: .asciz "Goodbye\r\n"
