package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheAnswerNamesTheVersion(t *testing.T) {
	recorder := httptest.NewRecorder()
	handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/inventory", nil))
	want := `"version":"` + strings.TrimSpace(version) + `"`
	if recorder.Code != 200 || !strings.Contains(recorder.Body.String(), want) {
		t.Fatalf("%d %s, want %s", recorder.Code, recorder.Body, want)
	}
}
