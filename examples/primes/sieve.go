package main

import "math"

// sieve is Eratosthenes' sieve in blocks: it strikes out the odd multiples of the odd primes up to the root of the
// limit, one block of numbers at a time.
type sieve struct {
	basePrimes []uint64
	struck     []bool // of one block; index i stands for the block's first odd number plus 2i
}

func newSieve(limit uint64) *sieve {
	root := uint64(math.Sqrt(float64(limit))) + 1
	composite := make([]bool, root+1)
	s := &sieve{struck: make([]bool, blockSize/2+1)}
	for p := uint64(3); p <= root; p += 2 {
		if composite[p] {
			continue
		}
		s.basePrimes = append(s.basePrimes, p)
		for m := p * p; m <= root; m += 2 * p {
			composite[m] = true
		}
	}
	return s
}

// count counts the odd primes from low up to, not including, high, which are at most a block apart, and names the
// largest (0 if there is none).
func (s *sieve) count(low, high uint64) (primes, largest uint64) {
	low |= 1
	if low >= high {
		return 0, 0
	}
	struck := s.struck[:(high-low+1)/2]
	clear(struck)
	for _, p := range s.basePrimes {
		if p*p >= high {
			break
		}
		first := max(p*p, (low+p-1)/p*p)
		if first%2 == 0 {
			first += p
		}
		for i := (first - low) / 2; i < uint64(len(struck)); i += p {
			struck[i] = true
		}
	}
	for i, out := range struck {
		if !out {
			primes++
			largest = low + 2*uint64(i)
		}
	}
	return primes, largest
}
