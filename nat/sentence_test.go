package nat

import (
	"strings"
	"testing"
	"time"
)

// behaviour is the usual home router's, changed.
func behaviour(change func(*Behaviour)) Behaviour {
	b := Behaviour{
		Public: No, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent, Preserved: Yes, Hairpin: No, Double: No,
		Lifetime: 60 * time.Second, Reachable: No,
	}
	change(&b)
	return b
}

func TestOnePlainSentenceSaysWhatADeviceSitsBehind(t *testing.T) {
	const (
		open     = "on the internet with an address of its own: everybody can connect to it"
		firewall = "on the internet with an address of its own, behind a firewall that allows direct connections"
		everyone = "behind a home router that lets everybody connect to it"
		direct   = "behind a home router that allows direct connections"
		most     = "behind a home router that changes ports in a foreseeable way: most direct connections work"
		hard     = "behind a home router that uses another port for everyone: direct connections are hard"
		twice    = "behind two or more routers in a row that allow direct connections"
		blocked  = "on a network that lets no UDP through, which most direct connections need"
		nothing  = "on a network that shows too little to tell whether direct connections work"
	)
	for _, c := range []struct {
		what string
		b    Behaviour
		want string
	}{
		// Every kind of router of the test networks, and carriers.
		{"no NAT", Behaviour{Public: Yes, Mapping: EndpointIndependent, Filtering: EndpointIndependent, Preserved: Yes, Hairpin: Yes, Double: No, Reachable: Yes}, open},
		{"asked by one address", behaviour(func(b *Behaviour) { b.Mapping = Unknown }), "behind a home router that keeps ports: direct connections probably work"},
		{"full cone", behaviour(func(b *Behaviour) { b.Filtering, b.Reachable = EndpointIndependent, Yes }), everyone},
		{"full cone, hairpin", behaviour(func(b *Behaviour) { b.Filtering, b.Reachable, b.Hairpin = EndpointIndependent, Yes, Yes }), everyone},
		{"address restricted", behaviour(func(b *Behaviour) { b.Filtering = AddressDependent }), direct},
		{"port restricted", behaviour(func(*Behaviour) {}), direct},
		{"port restricted, hairpin", behaviour(func(b *Behaviour) { b.Hairpin = Yes }), direct},
		{"port not preserved", behaviour(func(b *Behaviour) { b.Preserved = No }), direct},
		{"address-dependent mapping", behaviour(func(b *Behaviour) { b.Mapping, b.Preserved = AddressDependent, No }), hard},
		{"sequential", behaviour(func(b *Behaviour) { b.Mapping, b.Preserved, b.Step = AddressAndPortDependent, No, 1 }), most},
		{"sequential, downwards", behaviour(func(b *Behaviour) { b.Mapping, b.Preserved, b.Step = AddressAndPortDependent, No, -2 }), most},
		{"symmetric", behaviour(func(b *Behaviour) { b.Mapping, b.Preserved = AddressAndPortDependent, No }), hard},
		{"a port mapped on request", behaviour(func(b *Behaviour) { b.Reachable = Yes }), everyone},
		{"a port mapped by a symmetric router", behaviour(func(b *Behaviour) { b.Mapping, b.Reachable = AddressAndPortDependent, Yes }), everyone},
		{"IPv6, open", Behaviour{Public: Yes, Mapping: EndpointIndependent, Filtering: EndpointIndependent, Preserved: Yes, Hairpin: Yes, Double: No, Reachable: Yes}, open},
		{"IPv6, firewalled", Behaviour{Public: Yes, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent, Preserved: Yes, Hairpin: Yes, Double: No, Reachable: No}, firewall},
		{"UDP blocked", Behaviour{Blocked: true}, blocked},
		{"carrier", behaviour(func(b *Behaviour) { b.Preserved, b.Double = No, Yes }), twice},
		{"carrier, hairpin", behaviour(func(b *Behaviour) { b.Preserved, b.Double, b.Hairpin = No, Yes, Yes }), twice},
		{"carrier and a symmetric router", behaviour(func(b *Behaviour) { b.Mapping, b.Preserved, b.Double = AddressAndPortDependent, No, Yes }),
			"behind two or more routers in a row that use another port for everyone: direct connections are hard"},
		{"carrier and a sequential router", behaviour(func(b *Behaviour) { b.Mapping, b.Step, b.Double = AddressAndPortDependent, 2, Yes }),
			"behind two or more routers in a row that change ports in a foreseeable way: most direct connections work"},
		{"carrier that forwards", behaviour(func(b *Behaviour) { b.Double, b.Reachable = Yes, Yes }), "behind two or more routers in a row that let everybody connect to it"},

		// Partial knowledge: one public address of the surrogate, answers that got lost.
		{"nothing", Behaviour{}, nothing},
		{"blocked, and the rest of before", behaviour(func(b *Behaviour) { b.Blocked = true }), blocked},
		{"translated, no more", Behaviour{Public: No}, "behind a home router that shows too little to tell whether direct connections work"},
		{"translated twice, no more", Behaviour{Public: No, Double: Yes},
			"behind two or more routers in a row that show too little to tell whether direct connections work"},
		{"filtering unknown", behaviour(func(b *Behaviour) { b.Filtering, b.Reachable = Unknown, Unsure }), direct},
		{"mapping unknown, reachable", Behaviour{Public: No, Reachable: Yes}, everyone},
		{"filters nobody, mapping unknown", Behaviour{Public: No, Filtering: EndpointIndependent}, "behind a home router that shows too little to tell whether direct connections work"},
		{"filters nobody, but not reachable", behaviour(func(b *Behaviour) { b.Filtering = EndpointIndependent }), direct},
		{"own address unknown", Behaviour{Mapping: EndpointIndependent}, "on a network that allows direct connections"},
		{"own address unknown, symmetric", Behaviour{Mapping: AddressAndPortDependent}, "on a network that uses another port for everyone: direct connections are hard"},
		{"public, no more", Behaviour{Public: Yes}, "on the internet with an address of its own; whether a firewall stands before it is not known"},
		{"public, not reachable", Behaviour{Public: Yes, Reachable: No}, firewall},
		{"of a later version", Behaviour{Public: 9, Mapping: 9, Filtering: 9, Preserved: 9, Hairpin: 9, Double: 9, Reachable: 9}, nothing},
	} {
		if got := c.b.Sentence(); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.what, got, c.want)
		}
	}
}

func TestSentencesKeepToTheirFormWhateverIsKnown(t *testing.T) {
	for i := range 1 << 13 {
		b := Behaviour{
			Blocked: i&1 != 0, Public: Answer(i >> 1 & 3), Mapping: Dependence(i >> 3 & 3), Filtering: Dependence(i >> 5 & 3),
			Step: i >> 7 & 1, Double: Answer(i >> 8 & 3), Reachable: Answer(i >> 10 & 3),
		}
		s := b.Sentence()
		if len(s) > 120 || !strings.HasPrefix(s, "on ") && !strings.HasPrefix(s, "behind ") || strings.HasSuffix(s, ".") {
			t.Errorf("%+v: %q", b, s)
		}
	}
}
