// Command primes counts the primes up to LIMIT: a computation that is carried from pod to pod in its checkpoint.
//
// A LongTask program. The whole state is three numbers, small enough to be reported, so it needs no volume.
// Environment, beside LONGTASK_*: LIMIT, the last number to look at (default 100000000000).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const (
	exitYield     = 75 // EX_TEMPFAIL: "checkpointed, run me again"
	exitUsage     = 64
	reportEvery   = time.Second
	blockSize     = 1 << 20
	smallestLimit = 3
	largestLimit  = 1 << 52 // integers beyond 53 bits belong in strings
)

// state is the checkpoint. It holds for every limit, so that a finished count can be continued to a higher one.
type state struct {
	Next    uint64 `json:"next"` // all numbers below are counted
	Primes  uint64 `json:"primes"`
	Largest uint64 `json:"largest"`
}

func main() {
	code, err := run(os.Getenv("LIMIT"), os.Getenv("LONGTASK_CHECKPOINT"), os.Getenv("LONGTASK_REPORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "primes:", err)
	}
	os.Exit(code)
}

func run(limitText, checkpoint, reportPath string) (int, error) {
	limit, err := parseLimit(limitText)
	if err != nil {
		return exitUsage, err
	}
	at := state{Next: 3, Primes: 1, Largest: 2}
	if checkpoint != "" {
		if err := json.Unmarshal([]byte(checkpoint), &at); err != nil {
			return exitUsage, fmt.Errorf("LONGTASK_CHECKPOINT=%q: %w", checkpoint, err)
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Printf("going on at %d of %d\n", at.Next, limit)

	reportTime := time.NewTicker(reportEvery)
	sieve := newSieve(limit)
	for at.Next <= limit {
		select {
		case <-stop:
			fmt.Printf("asked to stop at %d\n", at.Next)
			return exitYield, report(reportPath, line{Checkpoint: &at, Progress: progressOf(at, limit)})
		case <-reportTime.C:
			if err := report(reportPath, line{Checkpoint: &at, Progress: progressOf(at, limit)}); err != nil {
				return 1, err
			}
		default:
			end := min(at.Next+blockSize, limit+1)
			primes, largest := sieve.count(at.Next, end)
			at.Next, at.Primes = end, at.Primes+primes
			at.Largest = max(at.Largest, largest)
		}
	}
	fmt.Printf("%d primes up to %d, the largest is %d\n", at.Primes, limit, at.Largest)
	return 0, report(reportPath, line{
		Checkpoint: &at,
		Progress:   progressOf(at, limit),
		Result:     &result{Limit: limit, Primes: at.Primes, Largest: at.Largest},
		Done:       true,
	})
}

func parseLimit(text string) (uint64, error) {
	if text == "" {
		return 1e11, nil
	}
	limit, err := strconv.ParseUint(text, 10, 64)
	if err != nil || limit < smallestLimit || limit > largestLimit {
		return 0, fmt.Errorf("LIMIT=%q: want a whole number from %d to %d", text, uint64(smallestLimit), uint64(largestLimit))
	}
	return limit, nil
}
