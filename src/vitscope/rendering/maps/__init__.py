"""Maps on pictures: scaling, enlarging, colour bars, overlays, flow strips, sheets and animations."""
