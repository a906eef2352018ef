cpdef object decode_method(bytes payload)
cpdef bytes encode_method(object method)
