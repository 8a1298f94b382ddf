package cli

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// pace is how a download gets on. Its methods may be called from several
// goroutines.
type pace struct {
	mu          sync.Mutex
	done, total int64 // bytes; total 0 when it is not known
	speed       float64
	at          time.Time // of the last news
}

// paceWindow is how far back the speed looks, about.
const paceWindow = 3 * time.Second

// set takes the news. The first ones, and those of a download that starts afresh,
// say nothing about the speed: what an earlier call has left is among them.
func (p *pace) set(done, total int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() && done >= p.done && now.After(p.at) {
		p.speed = p.blend(float64(done-p.done), now)
	}
	p.done, p.total, p.at = done, total, now
}

// blend returns the speed with more bytes at the time now.
func (p *pace) blend(more float64, now time.Time) float64 {
	passed := now.Sub(p.at).Seconds()
	if p.speed == 0 {
		return more / passed
	}
	weight := 1 - math.Exp(-passed/paceWindow.Seconds())
	return p.speed + weight*(more/passed-p.speed)
}

// amount returns "12.0 MiB / 40.0 MiB".
func (p *pace) amount() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total <= 0 {
		return byteSize(p.done)
	}
	return byteSize(p.done) + " / " + byteSize(p.total)
}

// outlook returns "30 % 4.0 MiB/s 7s", as far as that is known.
func (p *pace) outlook(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	speed := p.speed
	if now.Sub(p.at) > time.Second && speed > 0 { // no news are news
		speed = p.blend(0, now)
	}
	text := byteSize(int64(speed)) + "/s"
	if p.total <= 0 {
		return text
	}
	text = fmt.Sprintf("%d %% %s", 100*min(p.done, p.total)/p.total, text)
	if left := float64(p.total-p.done) / speed; speed >= 1 && left >= 0 && left < maxLeft.Seconds() {
		text += " " + time.Duration(left*float64(time.Second)).Round(time.Second).String()
	}
	return text
}

// maxLeft is the longest time that is worth being told.
const maxLeft = 100 * time.Hour
