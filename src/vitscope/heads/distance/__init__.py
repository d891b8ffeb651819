"""How far heads look: attention strength by distance on the patch grid."""
