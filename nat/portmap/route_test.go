package portmap

import (
	"encoding/binary"
	"testing"
)

const testRoutes = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
wlan0	00000000	FE01A8C0	0003	0	0	50	00000000	0	0	0
tun0	00000000	00000000	0001	0	0	0	00000000	0	0	0
eth1	00000000	0302A8C0	0002	0	0	0	00000000	0	0	0
vpn0	00000000	0402A8C0	0003	0	0	0	00000080	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
`

func TestTheDefaultRouteWithTheLowestMetricIsTaken(t *testing.T) {
	// Down, without a gateway, or half of the internet only, as VPNs set them, are none.
	if a, ok := parseRoutes(testRoutes, binary.LittleEndian); !ok || a.String() != "192.168.1.254" {
		t.Errorf("%v %v", a, ok)
	}
	if a, ok := parseRoutes("e 00000000 C0A80101 0003 0 0 0 00000000", binary.BigEndian); !ok || a.String() != "192.168.1.1" {
		t.Errorf("big endian: %v %v", a, ok)
	}
	if a, ok := parseRoutes("Iface Destination\neth0 x y", binary.LittleEndian); ok {
		t.Errorf("from nothing: %v", a)
	}
}

func TestIPv6GatewaysHaveZones(t *testing.T) {
	const none = "00000000000000000000000000000000"
	const table = none + " 00 " + none + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
		none + " 00 " + none + " 00 20010db8000000000000000000000001 00000064 00000001 00000000 00000001     eth1\n" +
		none + " 00 " + none + " 00 " + none + " ffffffff 00000001 00000000 00200200       lo\n"
	if a, ok := parseRoutes6(table); !ok || a.String() != "fe80::1%eth0" {
		t.Errorf("%v %v", a, ok)
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add(testRoutes)
	f.Fuzz(func(t *testing.T, table string) {
		if a, ok := parseRoutes(table, binary.LittleEndian); ok != a.IsValid() {
			t.Errorf("%v %v", a, ok)
		}
		if a, ok := parseRoutes6(table); ok != a.IsValid() {
			t.Errorf("%v %v", a, ok)
		}
	})
}
