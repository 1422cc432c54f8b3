package main

import "testing"

func TestAmountsAreAddedUpAndWhatIsNoneIsTold(t *testing.T) {
	if sum, err := settled("12.50 7.30 99.90"); sum != 11970 || err != nil {
		t.Fatalf("%d, %v, want 11970", sum, err)
	}
	for _, wrong := range []string{"nonsense", "1", "1.5", "-1.00", "1.0x"} {
		if sum, err := settled("12.50 " + wrong); err == nil {
			t.Fatalf("%q gives %d, want an error", wrong, sum)
		}
	}
}
