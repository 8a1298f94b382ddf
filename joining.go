package smartvm

import "context"

// join attaches the guest to its networks. One that goes on needs them no sooner than it
// does: they are made while its Firecracker starts and loads.
func (l *launch) join(ctx context.Context) error {
	if len(l.plan.config.NetworkInterfaces) == 0 {
		return nil
	}
	if l.restore == nil {
		return l.attachNetwork(ctx)
	}
	if err := l.ownNetwork(); err != nil {
		return err
	}
	taps := make(chan struct{})
	l.taps = taps
	l.network = goMeanwhile(ctx, func(ctx context.Context) error {
		err := l.addTAPs()
		close(taps)
		if err != nil {
			return err
		}
		return l.attachNetwork(ctx)
	})
	return nil
}

// addTAPs makes the TAPs in the guest's own namespace.
func (l *launch) addTAPs() error {
	for _, i := range l.plan.config.MadeInterfaces() {
		stored, err := l.restore.storedInterface(l.plan.config.NetworkInterfaces[i].IfaceID)
		if err == nil {
			err = l.netns.AddTAP(l.insideTAP(stored), l.tapOwner())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waitForTAPs waits until Firecracker can open them, or will find none.
func (l *launch) waitForTAPs() {
	if l.taps != nil {
		<-l.taps
	}
}
