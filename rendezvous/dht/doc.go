// Package dht takes part in the distributed hash table (BEP 5, BEP 32) on behalf of all torrents of the surrogate.
package dht
